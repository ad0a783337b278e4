#!/usr/bin/env python3
"""Checks the container and deployment files against the rules that their READMEs promise.

    deploy/check.py               report every breach; exit 1 if there is one
    deploy/check.py --self-test   break each file in every way known here and expect to be told so

Needs PyYAML. With the package kubernetes-validate the manifests are checked against the Kubernetes schemas too.
"""

import argparse
import copy
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = "Dockerfile"
DOCKERIGNORE = ".dockerignore"
COMPOSE = "deploy/docker-compose.yml"
COMPOSE_CONFIG = "deploy/compose/sidegate.toml"
KUBERNETES = "deploy/kubernetes/base"
DEPLOYMENT = f"{KUBERNETES}/deployment.yaml"
SERVICE = f"{KUBERNETES}/service.yaml"
POLICY = f"{KUBERNETES}/networkpolicy.yaml"
KUSTOMIZATION = f"{KUBERNETES}/kustomization.yaml"
KUBERNETES_CONFIG = f"{KUBERNETES}/config.toml"
ECHO = f"{KUBERNETES}/service.py"
PRODUCTION = "deploy/kubernetes/overlays/production"
OVERLAY = f"{PRODUCTION}/kustomization.yaml"
PATCH = f"{PRODUCTION}/deployment.yaml"
BUDGET = f"{PRODUCTION}/poddisruptionbudget.yaml"
SCALER = f"{PRODUCTION}/horizontalpodautoscaler.yaml"
MONITOR = f"{PRODUCTION}/podmonitor.yaml"
PRODUCTION_CONFIG = f"{PRODUCTION}/config.toml"
FILES = [DOCKERFILE, DOCKERIGNORE, COMPOSE, COMPOSE_CONFIG, DEPLOYMENT, SERVICE, POLICY, KUSTOMIZATION,
         KUBERNETES_CONFIG, ECHO, OVERLAY, PATCH, BUDGET, SCALER, MONITOR, PRODUCTION_CONFIG]
HEALTHCHECK = ["/usr/local/bin/sidegate", "healthcheck"]
CONFIG_PATH = "/etc/sidegate/config.toml"


class Findings:
    """What is wrong, each with the id of the rule that says so."""

    def __init__(self):
        self.breaches = []
        self.rules = set()

    def require(self, rule, holds, why):
        """Notes that `rule` was looked at, and `why` it is broken unless it `holds`."""
        self.rules.add(rule)
        if not holds:
            self.breaches.append((rule, why))


# ── readers ──────────────────────────────────────────────────────────────────────────────────────────


def instructions(text):
    """The Dockerfile's instructions in order, comments dropped, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\n", " ", text)
    found = []
    for line in text.splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            found.append((name.upper(), re.sub(r"\s+", " ", rest).strip()))
    return found


def exec_form(text):
    """The words of a JSON array as in CMD ["a", "b"], else None."""
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if isinstance(words, list) else None


def seconds(text):
    """A duration as sidegate and compose write it: "250ms", "30s", "5m", "1h"."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", str(text)).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def port(address):
    """The port of host:port or of a URL."""
    return int(str(address).rsplit(":", 1)[1].strip("/"))


def host(address):
    """The host of host:port or of a URL."""
    return re.sub(r"^\w+://", "", address).rsplit(":", 1)[0]


def shutdown(config):
    """Seconds that sidegate may take to end, by its configuration."""
    given = config.get("server", {}).get("shutdown", {})
    return seconds(given.get("delay", "0s")) + seconds(given.get("grace", "30s"))


def tag_is_pinned(image):
    """Whether an image reference has a tag other than latest, or a digest."""
    if "@sha256:" in image:
        return True
    last = image.rsplit("/", 1)[-1]
    return ":" in last and last.rsplit(":", 1)[1] not in ("", "latest")


def by_name(things, name):
    """The first of `things` called `name`, or an empty mapping."""
    return next((thing for thing in things or [] if thing.get("name") == name), {})


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────


def check_dockerfile(files, found):
    steps = instructions(files[DOCKERFILE])
    starts = [number for number, (name, _) in enumerate(steps) if name == "FROM"]
    final = steps[starts[-1]:]

    def last(name):
        return next((rest for step, rest in reversed(final) if step == name), "")

    found.require("docker-stages", len(starts) >= 2, "one stage: the compiler would be in the image")
    for _, image in (steps[number] for number in starts):
        found.require("docker-pinned", tag_is_pinned(image.split(" ")[0]), f"FROM {image}: no fixed tag")
    found.require("docker-distroless", "distroless" in final[0][1], "the last stage is not distroless")
    user = last("USER").split(":")[0]
    found.require("docker-nonroot", user.isdigit() and user != "0",
                  "USER of the last stage must be a number other than 0 (runAsNonRoot cannot verify names)")
    probe = re.search(r"\bCMD (.*)$", last("HEALTHCHECK"))
    found.require("docker-healthcheck", bool(probe) and exec_form(probe[1]) == HEALTHCHECK,
                  "HEALTHCHECK must run sidegate healthcheck, in exec form (there is no shell)")
    found.require("docker-entrypoint", exec_form(last("ENTRYPOINT")) == HEALTHCHECK[:1],
                  "ENTRYPOINT must be sidegate in exec form")
    found.require("docker-command", exec_form(last("CMD")) == ["run", "--config", CONFIG_PATH],
                  f"CMD must be run --config {CONFIG_PATH}")
    found.require("docker-expose", {"8080", "9090"} <= set(last("EXPOSE").split()), "EXPOSE 8080 9090 is missing")
    builds = [rest for name, rest in steps if name == "RUN" and "cargo build" in rest]
    found.require("docker-locked", bool(builds) and all("--locked" in build for build in builds),
                  "cargo build without --locked")
    found.require("docker-no-add", not any(name == "ADD" for name, _ in steps), "ADD: use COPY, and no URLs")
    everything = [rest for name, rest in steps if name == "COPY" and rest.split(" ")[0] in (".", "./")]
    found.require("docker-copy", not everything, "COPY of the whole context")
    manifest = next((number for number, (name, rest) in enumerate(steps)
                     if name == "COPY" and "Cargo.lock" in rest), len(steps))
    sources = next((number for number, (name, rest) in enumerate(steps)
                    if name == "COPY" and rest.startswith("src")), 0)
    cached = any(name == "RUN" and "cargo build" in rest for name, rest in steps[manifest:sources])
    found.require("docker-layer", cached, "dependencies have no layer of their own before the sources")
    labels = last("LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        found.require("docker-labels", f"org.opencontainers.image.{label}=" in labels, f"no label {label}")


def check_context(files, found):
    """The build context holds what the Dockerfile copies and what the sources include, and no toolchain file."""
    kept = {line[1:].strip("/") for line in files[DOCKERIGNORE].splitlines() if line.startswith("!")}
    lines = [line for line in files[DOCKERIGNORE].splitlines() if line and not line.startswith("#")]
    found.require("context-closed", lines[:1] == ["*"], f"{DOCKERIGNORE} must begin with *")
    found.require("context-toolchain", "rust-toolchain.toml" not in kept,
                  "rust-toolchain.toml in the context would make rustup fetch another toolchain")
    wanted = set()
    for name, rest in instructions(files[DOCKERFILE]):
        if name == "COPY" and "--from" not in rest:
            wanted.update(path.strip("./") for path in rest.split(" ")[:-1])
    for source in (ROOT / "src").rglob("*.rs"):
        for included in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
            path = (source.parent / included).resolve()
            if path.is_relative_to(ROOT):
                wanted.add(path.relative_to(ROOT).as_posix())
    for path in sorted(wanted):
        inside = any(path == one or path.startswith(f"{one}/") for one in kept)
        found.require("context-complete", inside, f"{path} is needed by the build but ignored")


def check_hardened_service(name, service, found):
    found.require("compose-pinned", tag_is_pinned(service.get("image", "")), f"{name}: image without a fixed tag")
    found.require("compose-read-only", service.get("read_only") is True, f"{name}: read_only: true is missing")
    found.require("compose-capabilities", service.get("cap_drop") == ["ALL"], f"{name}: cap_drop: [ALL] is missing")
    found.require("compose-privileges", "no-new-privileges:true" in service.get("security_opt", []),
                  f"{name}: no-new-privileges is missing")
    user = str(service.get("user", "0")).split(":")[0]
    found.require("compose-user", user.isdigit() and user != "0", f"{name}: runs as root")
    found.require("compose-health", "healthcheck" in service, f"{name}: no healthcheck")


def check_compose(files, found):
    compose = yaml.safe_load(files[COMPOSE])
    config = tomllib.loads(files[COMPOSE_CONFIG])
    services, networks = compose["services"], compose["networks"]
    gate = services["sidegate"]
    for name, service in services.items():
        check_hardened_service(name, service, found)
    found.require("compose-healthcheck", gate.get("healthcheck", {}).get("test") == ["CMD", *HEALTHCHECK],
                  "sidegate: the healthcheck must be sidegate healthcheck")
    published = [str(entry).rsplit(":", 1)[-1] for entry in gate.get("ports", [])]
    found.require("compose-published", published == [str(port(config["server"]["listen"]))],
                  "sidegate: exactly the port of server.listen must be published")
    found.require("compose-admin", port(config["admin"]["listen"]) not in map(int, published)
                  and host(config["admin"]["listen"]) == "127.0.0.1", "the admin listener must stay in its container")
    found.require("compose-config", f"./compose/sidegate.toml:{CONFIG_PATH}:ro" in gate.get("volumes", []),
                  "sidegate: the configuration must be mounted read-only")
    found.require("compose-grace", seconds(gate.get("stop_grace_period", "10s")) > shutdown(config),
                  "stop_grace_period must be longer than server.shutdown.delay + grace")
    for entry in config["authenticators"].values():
        name = entry.get("secret_env")
        found.require("compose-secret", name is None or ":?" in gate.get("environment", {}).get(name, ""),
                      f"{name} must come from the environment and have no default")
    for upstream in config["upstreams"].values():
        behind = services.get(host(upstream["url"]), {})
        found.require("compose-upstream", behind.get("environment", {}).get("PORT") == str(port(upstream["url"])),
                      f"{upstream['url']} is no service of the file, or listens elsewhere")
        found.require("compose-hidden", "ports" not in behind and behind.get("network_mode") is None,
                      f"{upstream['url']} is published")
        internal = all(networks[name].get("internal") is True for name in behind.get("networks", ["default"]))
        found.require("compose-internal", internal, f"{upstream['url']} is on a network that is not internal")


def check_hardened_container(container, pod, found):
    name = container["name"]
    own, shared = container.get("securityContext", {}), pod.get("securityContext", {})
    found.require("pod-pinned", tag_is_pinned(container["image"]), f"{name}: image without a fixed tag")
    found.require("pod-nonroot", own.get("runAsNonRoot", shared.get("runAsNonRoot")) is True,
                  f"{name}: runAsNonRoot is missing")
    found.require("pod-read-only", own.get("readOnlyRootFilesystem") is True,
                  f"{name}: readOnlyRootFilesystem is missing")
    found.require("pod-escalation", own.get("allowPrivilegeEscalation") is False,
                  f"{name}: allowPrivilegeEscalation: false is missing")
    found.require("pod-capabilities", own.get("capabilities", {}).get("drop") == ["ALL"],
                  f"{name}: drop: [ALL] is missing")
    profile = own.get("seccompProfile", shared.get("seccompProfile", {}))
    found.require("pod-seccomp", profile.get("type") == "RuntimeDefault", f"{name}: seccomp RuntimeDefault is missing")
    resources = container.get("resources", {})
    found.require("pod-resources", {"cpu", "memory"} <= set(resources.get("requests", {}))
                  and "memory" in resources.get("limits", {}), f"{name}: requests or the memory limit are missing")


def check_sidecar(gate, config, found):
    found.require("sidecar-native", gate.get("restartPolicy") == "Always",
                  "sidegate must be an init container with restartPolicy: Always")
    admin = port(config["admin"]["listen"])
    named = {entry["name"]: entry["containerPort"] for entry in gate.get("ports", [])}
    # /readyz in startupProbe would keep the service from starting while the issuer is down.
    for probe, path in (("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        asked = gate.get(probe, {}).get("httpGet", {})
        found.require(f"sidecar-{probe}", asked.get("path") == path and named.get(asked.get("port"), asked.get("port"))
                      == admin, f"{probe} must ask {path} on the admin port {admin}")
    found.require("sidecar-admin", host(config["admin"]["listen"]) in ("0.0.0.0", "[::]"),
                  "admin.listen on loopback: the kubelet could not probe it")
    mounted = [mount for mount in gate.get("volumeMounts", []) if mount["mountPath"] == "/etc/sidegate"]
    found.require("sidecar-config", len(mounted) == 1 and mounted[0].get("readOnly") is True,
                  "the configuration must be mounted read-only at /etc/sidegate")


def check_kubernetes(files, found):
    deployment = yaml.safe_load(files[DEPLOYMENT])
    config = tomllib.loads(files[KUBERNETES_CONFIG])
    template = deployment["spec"]["template"]
    pod = template["spec"]
    gate = by_name(pod.get("initContainers"), "sidegate")
    found.require("sidecar-present", bool(gate), "no init container called sidegate")
    if not gate:
        return
    check_sidecar(gate, config, found)
    for container in (gate, *pod["containers"]):
        check_hardened_container(container, pod, found)
    found.require("pod-token", pod.get("automountServiceAccountToken") is False,
                  "the service account's token is mounted and nobody needs it")

    service = pod["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in service.get("env", [])}
    found.require("service-loopback", environment.get("HOST") == "127.0.0.1" and not service.get("ports"),
                  "the service must listen on the pod's loopback and declare no port")
    url = config["upstreams"][next(iter(config["upstreams"]))]["url"]
    found.require("service-upstream", host(url) == "127.0.0.1" and environment.get("PORT") == str(port(url)),
                  "upstreams.url is not where the service listens")
    wait = service.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    found.require("service-pre-stop", wait >= 5, "the service ends at once, while requests still come in")
    found.require("pod-grace", pod.get("terminationGracePeriodSeconds", 30) > wait + shutdown(config),
                  "terminationGracePeriodSeconds must exceed preStop + server.shutdown.delay + grace")

    labels = template["metadata"]["labels"].items()
    selected = deployment["spec"]["selector"]["matchLabels"].items() <= labels
    entry = yaml.safe_load(files[SERVICE])["spec"]
    found.require("selector", selected and entry["selector"].items() <= labels, "a selector misses the pod")
    listens = port(config["server"]["listen"])
    found.require("service-target", [one["targetPort"] for one in entry["ports"]] == [listens],
                  f"the Service must lead to server.listen ({listens}) and nowhere else")
    check_network(yaml.safe_load(files[POLICY])["spec"], labels, listens, port(config["admin"]["listen"]), found)
    check_kustomization(yaml.safe_load(files[KUSTOMIZATION]), pod, found)


def check_network(policy, labels, listens, admin, found):
    found.require("network-selector", bool(policy["podSelector"].get("matchLabels"))
                  and policy["podSelector"]["matchLabels"].items() <= labels, "the NetworkPolicy misses the pod")
    found.require("network-ingress", "Ingress" in policy.get("policyTypes", []), "the NetworkPolicy has no Ingress")
    admitted = {}
    for rule in policy.get("ingress", []):
        for one in rule.get("ports", [{"port": "any"}]):
            admitted.setdefault(one.get("port"), []).append(rule.get("from"))
    found.require("network-ports", set(admitted) == {listens, admin},
                  f"the NetworkPolicy must admit {listens} and {admin} only, not {sorted(map(str, admitted))}")
    found.require("network-admin", all(admitted.get(admin, [])), "the admin port must name who may reach it")


def check_kustomization(kustomization, pod, found):
    wanted = {Path(path).name for path in (DEPLOYMENT, SERVICE, POLICY)}
    found.require("kustomize-resources", set(kustomization["resources"]) == wanted,
                  f"resources must be {sorted(wanted)}")
    generated = {one["name"]: one["files"] for one in kustomization["configMapGenerator"]}
    mounted = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    found.require("kustomize-volumes", mounted == set(generated), "volumes and generated ConfigMaps differ")
    for names in generated.values():
        for name in names:
            found.require("kustomize-files", (ROOT / KUBERNETES / name).is_file(), f"no file {name}")
    found.require("kustomize-config", "config.toml" in generated.get("sidegate-config", []),
                  "sidegate-config must hold config.toml")


def check_production(files, found):
    """The overlay fits the base: what it selects, patches and mounts is there."""
    base = yaml.safe_load(files[DEPLOYMENT])
    labels = base["spec"]["template"]["metadata"]["labels"].items()
    ports = {one["name"] for one in by_name(base["spec"]["template"]["spec"]["initContainers"], "sidegate")["ports"]}
    overlay, patch = yaml.safe_load(files[OVERLAY]), yaml.safe_load(files[PATCH])
    wanted = {"../../base"} | {Path(path).name for path in (BUDGET, SCALER, MONITOR)}
    found.require("overlay-resources", set(overlay["resources"]) == wanted, f"resources must be {sorted(wanted)}")
    found.require("overlay-patches", overlay["patches"] == [{"path": Path(PATCH).name}], "deployment.yaml is no patch")
    merged = by_name(overlay["configMapGenerator"], "sidegate-config")
    found.require("overlay-config", merged.get("behavior") == "merge" and merged.get("files") == ["config.toml"],
                  "config.toml must take the place of the base's, under its name")
    found.require("overlay-image", all("latest" != str(one.get("newTag")) for one in overlay["images"]), "a tag that moves")
    budget = yaml.safe_load(files[BUDGET])["spec"]
    found.require("budget", budget["selector"]["matchLabels"].items() <= labels and budget.get("maxUnavailable") == 1,
                  "the PodDisruptionBudget misses the pods, or lets more than one go")
    scaler = yaml.safe_load(files[SCALER])["spec"]
    target = scaler["scaleTargetRef"]
    found.require("scaler-target", (target["kind"], target["name"]) == ("Deployment", base["metadata"]["name"]),
                  "the autoscaler has no such target")
    found.require("scaler-bounds", 2 <= scaler["minReplicas"] <= scaler["maxReplicas"], "fewer than two replicas")
    found.require("scaler-alone", patch["spec"].get("replicas", 0) is None, "replicas must be null: the autoscaler has them")
    monitor = yaml.safe_load(files[MONITOR])["spec"]
    found.require("monitor", monitor["selector"]["matchLabels"].items() <= labels
                  and {one["port"] for one in monitor["podMetricsEndpoints"]} == {"admin"} <= ports,
                  "the PodMonitor misses the admin port of the pods")
    check_patch(patch, base, tomllib.loads(files[PRODUCTION_CONFIG]), tomllib.loads(files[KUBERNETES_CONFIG]), found)


def check_patch(patch, base, config, base_config, found):
    pod, base_pod = patch["spec"]["template"]["spec"], base["spec"]["template"]["spec"]
    names = {one["name"] for one in base_pod["initContainers"] + base_pod["containers"]}
    patched = [one["name"] for one in pod.get("initContainers", []) + pod.get("containers", [])]
    found.require("patch-containers", patch["metadata"]["name"] == base["metadata"]["name"] and set(patched) <= names,
                  "the patch names what the base has not: it would be added")
    mounts = {mount["mountPath"]: mount for one in pod.get("initContainers", []) for mount in one.get("volumeMounts", [])}
    secrets = {volume["name"] for volume in pod.get("volumes", []) if "secret" in volume}
    named = [value for table in config.values() if isinstance(table, dict)
             for key, value in table.items() if key.endswith("_file")]
    inside = all(str(Path(path).parent) in mounts and mounts[str(Path(path).parent)]["name"] in secrets
                 and mounts[str(Path(path).parent)].get("readOnly") is True for path in named)
    found.require("patch-secrets", bool(named) and inside, "a *_file of config.toml is not in a mounted Secret")
    owned = pod.get("securityContext", {}).get("fsGroup") == base_pod["securityContext"]["runAsGroup"]
    closed = all(volume["secret"].get("defaultMode", 0o644) & 0o007 == 0 for volume in pod["volumes"] if "secret" in volume)
    found.require("patch-modes", owned and closed, "the Secret's files must be the group's, and nobody else's")
    same = all(config[table]["listen"] == base_config[table]["listen"] for table in ("server", "admin"))
    same = same and config["upstreams"] == base_config["upstreams"]
    same = same and shutdown(config) == shutdown(base_config)
    found.require("patch-ports", same, "listeners, upstreams and shutdown must be those that the base's manifests fit")


def check_echo(files, found):
    try:
        compile(files[ECHO], ECHO, "exec")
        broken = ""
    except SyntaxError as error:
        broken = str(error)
    found.require("echo-syntax", not broken, broken)
    found.require("echo-loopback", 'environ.get("HOST", "127.0.0.1")' in files[ECHO],
                  "the example service must listen on loopback unless told otherwise")


def check_schemas(files, found):
    """Validates the manifests with kubernetes-validate, where it is installed; says whether it is."""
    for path in (DEPLOYMENT, SERVICE, POLICY, BUDGET, SCALER):
        for manifest in yaml.safe_load_all(files[path]):
            if not check_schema(path, manifest, found):
                return False
    return True


def check_schema(where, manifest, found):
    """Validates one manifest, if kubernetes-validate is installed; says whether it is."""
    try:
        import kubernetes_validate
    except ImportError:
        return False
    try:
        kubernetes_validate.validate(copy.deepcopy(manifest), "1.30", strict=True)
        why = ""
    except kubernetes_validate.ValidationError as error:
        why = f"{'.'.join(map(str, error.path))}: {error.message}"
    found.require("schema", not why, f"{where}: {why}")
    return True


def rendered():
    """What kubectl makes of base and overlay, where it is installed: what is wrong with it, and whether it was looked at."""
    if not shutil.which("kubectl"):
        return [], False
    wrong = []
    for folder in (KUBERNETES, PRODUCTION):
        made = subprocess.run(["kubectl", "kustomize", ROOT / folder], capture_output=True, text=True, check=False)
        if made.returncode:
            wrong.append(("rendered", f"{folder}: {made.stderr.strip()}"))
            continue
        things = list(yaml.safe_load_all(made.stdout))
        found = Findings()
        for thing in things:
            if thing["kind"] == "Deployment":
                pod = thing["spec"]["template"]["spec"]
                for container in pod["initContainers"] + pod["containers"]:
                    check_hardened_container(container, pod, found)
            if thing["kind"] != "PodMonitor":  # its schema is the operator's
                check_schema(f"{folder}, rendered", thing, found)
        wrong += found.breaches
    return wrong, True


def check(files):
    """Every rule on these files: the findings, and whether the Kubernetes schemas were there to help."""
    found = Findings()
    schemas = False
    for rules in (check_dockerfile, check_context, check_compose, check_kubernetes, check_production, check_echo, check_schemas):
        try:
            schemas = rules(files, found)
        except Exception as error:  # a file so broken that it cannot be looked at is broken
            found.breaches.append(("unreadable", f"{rules.__name__}: {type(error).__name__}: {error}"))
    return found, bool(schemas)


# ── the check of the check ───────────────────────────────────────────────────────────────────────────

# (rule that must notice, file, what stands there, what to put instead)
MUTATIONS = [
    ("docker-stages", DOCKERFILE, "FROM rust:1.95-slim-bookworm AS build\n", ""),
    ("docker-pinned", DOCKERFILE, "rust:1.95-slim-bookworm", "rust:latest"),
    ("docker-pinned", DOCKERFILE, "cc-debian12:nonroot", "cc-debian12"),
    ("docker-distroless", DOCKERFILE, "gcr.io/distroless/cc-debian12:nonroot", "debian:bookworm-slim"),
    ("docker-nonroot", DOCKERFILE, "USER 65532:65532\n", ""),
    ("docker-nonroot", DOCKERFILE, "USER 65532:65532", "USER root"),
    ("docker-nonroot", DOCKERFILE, "USER 65532:65532", "USER 0"),
    ("docker-healthcheck", DOCKERFILE, '["/usr/local/bin/sidegate", "healthcheck"]', "curl -f localhost:9090/readyz"),
    ("docker-entrypoint", DOCKERFILE, 'ENTRYPOINT ["/usr/local/bin/sidegate"]', "ENTRYPOINT sidegate"),
    ("docker-command", DOCKERFILE, 'CMD ["run", "--config", "/etc/sidegate/config.toml"]', 'CMD ["demo"]'),
    ("docker-expose", DOCKERFILE, "EXPOSE 8080 9090", "EXPOSE 8080"),
    ("docker-locked", DOCKERFILE, "cargo build --release --locked", "cargo build --release"),
    ("docker-no-add", DOCKERFILE, "COPY src ./src", "ADD https://example.org/src.tar.gz ./src\nCOPY src ./src"),
    ("docker-copy", DOCKERFILE, "COPY src ./src", "COPY . ."),
    ("docker-layer", DOCKERFILE, "COPY Cargo.toml Cargo.lock ./\n", "COPY Cargo.toml Cargo.lock ./\nCOPY src ./src\n"),
    ("docker-labels", DOCKERFILE, "org.opencontainers.image.licenses", "licenses"),
    ("context-closed", DOCKERIGNORE, "\n*\n", "\n"),
    ("context-toolchain", DOCKERIGNORE, "!src", "!src\n!rust-toolchain.toml"),
    ("context-complete", DOCKERIGNORE, "!Cargo.lock\n", ""),
    ("compose-pinned", COMPOSE, "python:3.13-slim-bookworm", "python"),
    ("compose-read-only", COMPOSE, "read_only: true", "read_only: false"),
    ("compose-capabilities", COMPOSE, "cap_drop: [ALL]", "cap_drop: [NET_RAW]"),
    ("compose-privileges", COMPOSE, "no-new-privileges:true", "no-new-privileges:false"),
    ("compose-user", COMPOSE, '"65532:65532"', '"0:0"'),
    ("compose-health", COMPOSE, "healthcheck:", "x-healthcheck:"),
    ("compose-healthcheck", COMPOSE, '"/usr/local/bin/sidegate", "healthcheck"', '"true"'),
    ("compose-published", COMPOSE, ":8080:8080", ":8080:9090"),
    ("compose-admin", COMPOSE_CONFIG, '"127.0.0.1:9090"', '"0.0.0.0:9090"'),
    ("compose-config", COMPOSE, "config.toml:ro", "config.toml"),
    ("compose-grace", COMPOSE, "stop_grace_period: 20s", "stop_grace_period: 10s"),
    ("compose-grace", COMPOSE_CONFIG, 'grace = "10s"', 'grace = "5m"'),
    ("compose-secret", COMPOSE, "${JWT_SECRET:?", "${JWT_SECRET:-"),
    ("compose-upstream", COMPOSE_CONFIG, "service:8000", "service:8001"),
    ("compose-hidden", COMPOSE, "networks: [back]", 'networks: [back]\n    ports: ["8000:8000"]'),
    ("compose-internal", COMPOSE, "internal: true", "internal: false"),
    ("compose-internal", COMPOSE, "networks: [back]", "networks: [back, front]"),
    ("pod-pinned", DEPLOYMENT, "sidegate:0.1.0", "sidegate:latest"),
    ("pod-nonroot", DEPLOYMENT, "runAsNonRoot: true", "runAsNonRoot: false"),
    ("pod-read-only", DEPLOYMENT, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    ("pod-escalation", DEPLOYMENT, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
    ("pod-capabilities", DEPLOYMENT, "drop: [ALL]", "add: [NET_ADMIN]"),
    ("pod-seccomp", DEPLOYMENT, "RuntimeDefault", "Unconfined"),
    ("pod-resources", DEPLOYMENT, "limits:", "x-limits:"),
    ("pod-token", DEPLOYMENT, "automountServiceAccountToken: false", "automountServiceAccountToken: true"),
    ("pod-grace", DEPLOYMENT, "terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: 20"),
    ("pod-grace", KUBERNETES_CONFIG, 'grace = "10s"', 'grace = "60s"'),
    ("sidecar-present", DEPLOYMENT, "- name: sidegate", "- name: gate"),
    ("sidecar-native", DEPLOYMENT, "restartPolicy: Always", "imagePullPolicy: IfNotPresent"),
    ("sidecar-startupProbe", DEPLOYMENT, "path: /livez", "path: /readyz"),
    ("sidecar-readinessProbe", DEPLOYMENT, "path: /readyz", "path: /livez"),
    ("sidecar-livenessProbe", DEPLOYMENT, "livenessProbe", "x-livenessProbe"),
    ("sidecar-readinessProbe", KUBERNETES_CONFIG, "0.0.0.0:9090", "0.0.0.0:9091"),
    ("sidecar-admin", KUBERNETES_CONFIG, "0.0.0.0:9090", "127.0.0.1:9090"),
    ("sidecar-config", DEPLOYMENT, "mountPath: /etc/sidegate\n              readOnly: true", "mountPath: /etc/sidegate"),
    ("service-loopback", DEPLOYMENT, '"127.0.0.1"', '"0.0.0.0"'),
    ("service-upstream", KUBERNETES_CONFIG, "127.0.0.1:8000", "127.0.0.1:8001"),
    ("service-pre-stop", DEPLOYMENT, "seconds: 10\n", "seconds: 1\n"),
    ("selector", SERVICE, "app.kubernetes.io/name: app", "app.kubernetes.io/name: other"),
    ("service-target", SERVICE, "targetPort: 8080", "targetPort: 8000"),
    ("network-selector", POLICY, "app.kubernetes.io/name: app", "app.kubernetes.io/name: other"),
    ("network-ingress", POLICY, "[Ingress]", "[Egress]"),
    ("network-ports", POLICY, "port: 8080", "port: 8000"),
    ("network-ports", POLICY, "    - ports:\n        - protocol: TCP\n          port: 8080\n", "    - {}\n"),
    ("network-admin", POLICY, "    - from:\n        - namespaceSelector:\n            matchLabels:\n"
     "              kubernetes.io/metadata.name: monitoring\n      ports:", "    - ports:"),
    ("kustomize-resources", KUSTOMIZATION, "  - networkpolicy.yaml\n", ""),
    ("kustomize-volumes", KUSTOMIZATION, "name: sidegate-config", "name: config"),
    ("kustomize-files", KUSTOMIZATION, "- service.py", "- missing.py"),
    ("kustomize-config", KUSTOMIZATION, "- config.toml", "- service.py"),
    ("overlay-resources", OVERLAY, "  - podmonitor.yaml\n", ""),
    ("overlay-patches", OVERLAY, "  - path: deployment.yaml", "  - path: other.yaml"),
    ("overlay-config", OVERLAY, "behavior: merge", "behavior: create"),
    ("overlay-image", OVERLAY, "newTag: 0.1.0", "newTag: latest"),
    ("budget", BUDGET, "maxUnavailable: 1", "maxUnavailable: 100%"),
    ("budget", BUDGET, "name: app\n", "name: other\n"),
    ("scaler-target", SCALER, "kind: Deployment", "kind: StatefulSet"),
    ("scaler-bounds", SCALER, "minReplicas: 3", "minReplicas: 1"),
    ("scaler-alone", PATCH, "replicas: null", "replicas: 2"),
    ("monitor", MONITOR, "port: admin", "port: http"),
    ("patch-containers", PATCH, "- name: sidegate\n", "- name: gate\n"),
    ("patch-secrets", PATCH, "mountPath: /etc/sidegate-secrets", "mountPath: /run/secrets"),
    ("patch-secrets", PATCH, "readOnly: true", "readOnly: false"),
    ("patch-modes", PATCH, "defaultMode: 0440", "defaultMode: 0444"),
    ("patch-modes", PATCH, "fsGroup: 65532", "fsGroup: 1000"),
    ("patch-ports", PRODUCTION_CONFIG, "0.0.0.0:9090", "0.0.0.0:9091"),
    ("patch-ports", PRODUCTION_CONFIG, 'grace = "10s"', 'grace = "60s"'),
    ("schema", SCALER, "minReplicas: 3", 'minReplicas: "three"'),
    ("echo-syntax", ECHO, "def main():", "def main("),
    ("echo-loopback", ECHO, 'environ.get("HOST", "127.0.0.1")', 'environ.get("HOST", "0.0.0.0")'),
    ("unreadable", COMPOSE, "services:", "services: ["),
    ("unreadable", DEPLOYMENT, "    spec:\n", "   spec:\n"),
    ("unreadable", KUBERNETES_CONFIG, "[server]", "[server"),
    ("schema", DEPLOYMENT, "replicas: 2", 'replicas: "two"'),
    ("schema", POLICY, "ingress:", "ingres:"),
]


def self_test(files):
    """Every mutation must be noticed by its rule, and every rule must have a mutation."""
    whole, schemas = check(files)
    failures = [f"the files as they are: {rule}: {why}" for rule, why in whole.breaches]
    tried = 0
    for rule, path, old, new in MUTATIONS:
        if rule == "schema" and not schemas:
            continue
        tried += 1
        if old not in files[path]:
            failures.append(f"{rule}: {path} does not hold {old!r} any more: renew the mutation")
            continue
        broken, _ = check({**files, path: files[path].replace(old, new)})
        if rule not in {breached for breached, _ in broken.breaches}:
            failures.append(f"{rule}: not noticed in {path}: {old!r} -> {new!r}")
    untried = whole.rules - {rule for rule, *_ in MUTATIONS}
    failures += [f"{rule}: no mutation tries it" for rule in sorted(untried)]
    for failure in failures:
        print(f"FAIL {failure}")
    print(f"deploy/check.py --self-test: {tried} ways to break the files, {len(failures)} failures")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true", help="check that broken files are noticed")
    arguments = parser.parse_args()
    files = {path: (ROOT / path).read_text() for path in FILES}
    if arguments.self_test:
        return self_test(files)
    found, schemas = check(files)
    wrong, drawn = rendered()
    found.breaches += wrong
    for rule, why in found.breaches:
        print(f"FAIL {rule}: {why}")
    if not drawn:
        print("SKIPPED: kubectl is not installed: what kustomize makes of base and overlay is not looked at")
    help_of = "with" if schemas else "without (kubernetes-validate is not installed)"
    print(f"deploy/check.py: {len(FILES)} files, {len(found.rules)} rules, {len(found.breaches)} breaches, "
          f"{help_of} the Kubernetes schemas")
    return 1 if found.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
