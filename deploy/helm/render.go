// Renders the chart as Helm would, as far as its templates go: for machines without Helm. Needs Debian's
// golang-github-masterminds-sprig-dev and golang-yaml.v2-dev:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run deploy/helm/render.go CHART VALUES.yaml
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v2"
)

func read(path string) map[string]interface{} {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	var found map[string]interface{}
	if err := yaml.Unmarshal(text, &found); err != nil {
		log.Fatalf("%s: %v", path, err)
	}
	return found
}

// merge puts `over` on top of `under`, as Helm merges values.
func merge(under, over map[interface{}]interface{}) {
	for key, value := range over {
		inner, isMap := value.(map[interface{}]interface{})
		below, wasMap := under[key].(map[interface{}]interface{})
		if isMap && wasMap {
			merge(below, inner)
		} else {
			under[key] = value
		}
	}
}

func main() {
	chart, over := os.Args[1], os.Args[2]
	values := map[interface{}]interface{}{}
	for _, path := range []string{filepath.Join(chart, "values.yaml"), over} {
		layer := map[interface{}]interface{}{}
		for key, value := range read(path) {
			layer[key] = value
		}
		merge(values, layer)
	}
	about := read(filepath.Join(chart, "Chart.yaml"))
	root := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	root.Funcs(functions)
	paths, _ := filepath.Glob(filepath.Join(chart, "templates", "*"))
	sort.Strings(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			log.Fatal(err)
		}
		template.Must(root.New(filepath.Base(path)).Parse(string(text)))
	}
	data := map[string]interface{}{
		"Values":  values,
		"Chart":   map[string]interface{}{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": map[string]interface{}{"Name": "gate", "Namespace": "default", "Service": "Helm"},
	}
	for _, path := range paths {
		if filepath.Ext(path) == ".tpl" {
			continue
		}
		var out bytes.Buffer
		if err := root.ExecuteTemplate(&out, filepath.Base(path), data); err != nil {
			log.Fatal(err)
		}
		if filepath.Ext(path) == ".yaml" && strings.TrimSpace(out.String()) != "" {
			fmt.Printf("---\n%s\n", out.String())
		}
	}
}
