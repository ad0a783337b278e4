#!/usr/bin/env python3
"""The chart, rendered with several values: what comes out is valid and as hardened as the manifests, and its configuration is accepted.

    deploy/helm/check.py [--gate BINARY]

Needs PyYAML, and Helm or else Go with sprig (render.go); without either nothing is rendered, which it says. With the packages
kubernetes-validate and jsonschema manifests and values are held against their schemas.
"""

import argparse
import copy
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib

import yaml

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE / "sidegate"
SPRIG = pathlib.Path("/usr/share/gocode/src/github.com/Masterminds/sprig")
sys.path.insert(0, str(HERE.parent))
import check as rules  # noqa: E402  deploy/check.py

FULL = {
    "secretName": "secrets", "env": [{"name": "A", "value": "b"}], "autoscaling": {"enabled": True}, "podMonitor": {"enabled": True},
    "imagePullSecrets": [{"name": "registry"}], "service": {"annotations": {"a": "b"}}, "podLabels": {"team": "one"},
    "podAnnotations": {"c": "d"}, "nodeSelector": {"kubernetes.io/arch": "amd64"}, "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}}, "priorityClassName": "high", "fullnameOverride": "front",
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
}
LITTLE = {"podDisruptionBudget": {"enabled": False}, "networkPolicy": {"enabled": False}}
CASES = {
    "as it is": ({}, {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}),
    "with everything": (FULL, {"ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget",
                               "PodMonitor", "Service"}),
    "with little": (LITTLE, {"ConfigMap", "Deployment", "Service"}),
}


def command(chart, values):
    if shutil.which("helm"):
        return ["helm", "template", "gate", chart, "--values", values], None
    if shutil.which("go") and SPRIG.is_dir():
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
        return ["go", "run", HERE / "render.go", chart, values], environment
    return None, None


def rendered(chart, values):
    """The manifests; none where nothing can render them."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        words, environment = command(chart, file.name)
        if words is None:
            return None
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return [thing for thing in yaml.safe_load_all(done.stdout) if thing]


def complaints(things, kinds, gate):
    by_kind = {thing["kind"]: thing for thing in things}
    if set(by_kind) != kinds or len(things) != len(kinds):
        yield f"kinds are {sorted(by_kind)}"
        return
    found = rules.Findings()
    for thing in things:
        if thing["kind"] != "PodMonitor":
            rules.check_schema(thing["kind"], thing, found)
    pod = by_kind["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    container = pod["spec"]["containers"][0]
    rules.check_hardened_container(container, pod["spec"], found)
    found.require("token", pod["spec"].get("automountServiceAccountToken") is False, "the service account's token is mounted")
    config = tomllib.loads(by_kind["ConfigMap"]["data"]["config.toml"])
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    found.require("ports", ports == {name: rules.port(config[table]["listen"]) for name, table in
                                     (("http", "server"), ("admin", "admin"))}, "ports are not those of the configuration")
    found.require("grace", pod["spec"]["terminationGracePeriodSeconds"] > rules.shutdown(config) and
                  rules.seconds(config["server"]["shutdown"]["delay"]) >= 5, "it ends before it has drained")
    for kind, place in (("Service", ("selector",)), ("PodDisruptionBudget", ("selector", "matchLabels")),
                        ("NetworkPolicy", ("podSelector", "matchLabels")), ("PodMonitor", ("selector", "matchLabels"))):
        selector = by_kind.get(kind, {}).get("spec")
        for step in place if selector else ():
            selector = selector[step]
        found.require("selectors", selector is None or (selector and selector.items() <= labels), f"{kind} misses the pods")
    targets = {one["targetPort"] for one in by_kind["Service"]["spec"]["ports"]}
    found.require("target", targets == {"http"} and "http" in ports, "the Service leads elsewhere")
    found.require("replicas", ("replicas" in by_kind["Deployment"]["spec"]) != ("HorizontalPodAutoscaler" in by_kind),
                  "replicas and the autoscaler contradict each other")
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    found.require("volumes", mounts == {volume["name"] for volume in pod["spec"]["volumes"]}, "volumes and mounts differ")
    yield from (f"{rule}: {why}" for rule, why in found.breaches)
    if gate:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(by_kind["ConfigMap"]["data"]["config.toml"])
            file.flush()
            done = subprocess.run([gate, "check", "--config", file.name], capture_output=True, text=True, check=False)
        if done.returncode:
            yield done.stdout + done.stderr


def unfit(values):
    """What the schema of the values says against them; nothing where jsonschema is missing."""
    try:
        import jsonschema
    except ImportError:
        return []
    schema = json.loads((CHART / "values.schema.json").read_text())
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(values)]


def merged(under, over):
    both = copy.deepcopy(under)
    for key, value in over.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


# (file of the chart, what stands there, what to put instead): each must be noticed
MUTATIONS = [
    ("templates/deployment.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    ("templates/deployment.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true"),
    ("templates/deployment.yaml", "replicas: {{ .Values.replicaCount }}", "replicas: two"),
    ("templates/deployment.yaml", "mountPath: /etc/sidegate-secrets", "mountPath: [a]"),
    ("templates/service.yaml", "targetPort: http", "targetPort: https"),
    ("templates/service.yaml", 'include "sidegate.selector" .', 'dict "app" "other" | toYaml'),
    ("templates/networkpolicy.yaml", "ingress:", "ingres:"),
    ("templates/poddisruptionbudget.yaml", "{{- if .Values.podDisruptionBudget.enabled }}", "{{- if true }}"),
    ("values.yaml", "http: 8080", "http: 8081"),
    ("values.yaml", 'grace = "20s"', 'grace = "60s"'),
    ("templates/service.yaml", "{{- end }}", ""),
]


def all_complaints(chart, gate):
    for name, (values, kinds) in CASES.items():
        try:
            things = rendered(chart, values)
            if things is None:
                return
            yield from (f"{name}: {why}" for why in complaints(things, kinds, gate))
        except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            yield f"{name}: {type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", help="the binary sidegate, which judges the configuration of the values")
    arguments = parser.parse_args()
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for name, (values, _) in CASES.items():
        if wrong := unfit(merged(defaults, values)):
            sys.exit(f"{name}: {wrong}")
    words, _ = command(CHART, "")
    if words is None:
        print("SKIPPED: neither Helm nor Go with sprig is installed: the chart is not rendered")
        return
    if found := list(all_complaints(CHART, arguments.gate)):
        sys.exit("\n".join(found))
    noticed = 0
    for path, before, after in MUTATIONS:
        with tempfile.TemporaryDirectory() as folder:
            chart = shutil.copytree(CHART, pathlib.Path(folder, "sidegate"))
            text = (chart / path).read_text()
            if before not in text:
                sys.exit(f"{path} does not hold {before!r} any more: renew the mutation")
            (chart / path).write_text(text.replace(before, after))
            if not list(all_complaints(chart, None)):
                sys.exit(f"not noticed in {path}: {before!r} -> {after!r}")
            noticed += 1
    print(f"{len(CASES)} sets of values rendered by {words[0]}; {noticed} ways to break the chart are noticed")


main()
