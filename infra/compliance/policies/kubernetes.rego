# What must hold of rendered manifests. input.manifests is the list of documents.
# deny: {check, where, line}, what is wrong. proof: the same form, the line that shows that a check holds.
package cerebeam

import rego.v1

place(m) := sprintf("%s/%s", [m.kind, m.metadata.name])

pods contains {"where": place(m), "meta": m.spec.template.metadata, "spec": m.spec.template.spec} if {
	some m in input.manifests
	m.spec.template.spec
}

pods contains {"where": place(m), "meta": t.metadata, "spec": t.spec} if {
	some m in input.manifests
	m.kind == "CronJob"
	t := m.spec.jobTemplate.spec.template
}

pods contains {"where": place(m), "meta": m.metadata, "spec": m.spec} if {
	some m in input.manifests
	m.kind == "Pod"
}

containers contains {"where": sprintf("%s %s", [p.where, c.name]), "pod": p.spec, "container": c} if {
	some p in pods
	some c in array.concat(p.spec.containers, object.get(p.spec, "initContainers", []))
}

arguments(c) := array.concat(object.get(c, "command", []), object.get(c, "args", []))

servers contains c if {
	some c in containers
	"serve" in arguments(c.container)
}

# root-container

non_root(c) if c.container.securityContext.runAsNonRoot == true

non_root(c) if {
	not has_own_user(c)
	c.pod.securityContext.runAsNonRoot == true
}

has_own_user(c) if c.container.securityContext.runAsNonRoot == false

has_own_user(c) if c.container.securityContext.runAsUser == 0

confined(c) if {
	non_root(c)
	c.container.securityContext.allowPrivilegeEscalation == false
	c.container.securityContext.readOnlyRootFilesystem == true
	not c.container.securityContext.privileged == true
	count(object.get(object.get(c.container.securityContext, "capabilities", {}), "add", [])) == 0
	not opened(c.pod)
}

# A way from the pod to its node.
opened(pod) if pod.hostNetwork == true

opened(pod) if pod.hostPID == true

opened(pod) if pod.hostIPC == true

opened(pod) if {
	some volume in pod.volumes
	volume.hostPath
}

deny contains {"check": "root-container", "where": c.where, "line": "runs as root, may become root, writes its own file system, or reaches its node"} if {
	some c in containers
	not confined(c)
}

proof contains {"check": "root-container", "where": c.where, "line": "runAsNonRoot: true, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true"} if {
	some c in containers
	confined(c)
}

# unpinned-image

pinned(image) if regex.match(`@sha256:[0-9a-f]{64}$`, image)

pinned(image) if {
	regex.match(`:[A-Za-z0-9._-]+$`, image)
	not endswith(image, ":latest")
}

deny contains {"check": "unpinned-image", "where": c.where, "line": sprintf("image: %s", [c.container.image])} if {
	some c in containers
	not pinned(c.container.image)
}

proof contains {"check": "unpinned-image", "where": c.where, "line": sprintf("image: %s", [c.container.image])} if {
	some c in containers
	pinned(c.container.image)
}

# no-network-policy: each pod is chosen by a policy that closes both directions.

selects(policy, p) if {
	every key, value in object.get(policy.spec.podSelector, "matchLabels", {}) {
		p.meta.labels[key] == value
	}
}

closed(p) := policy if {
	some policy in input.manifests
	policy.kind == "NetworkPolicy"
	endswith(policy.metadata.name, "-default")
	"Ingress" in policy.spec.policyTypes
	"Egress" in policy.spec.policyTypes
	not policy.spec.ingress
	selects(policy, p)
}

deny contains {"check": "no-network-policy", "where": p.where, "line": "no NetworkPolicy NAME-default closes Ingress and Egress of this pod"} if {
	some p in pods
	not closed(p)
}

proof contains {"check": "no-network-policy", "where": place(closed(p)), "line": sprintf("policyTypes: [Ingress, Egress] for %s", [p.where])} if {
	some p in pods
	closed(p)
}

# plain-http

deny contains {"check": "plain-http", "where": place(m), "line": sprintf("host %s without tls", [host_of(rule)])} if {
	some m in input.manifests
	m.kind == "Ingress"
	some rule in m.spec.rules
	not covered(m, host_of(rule))
}

deny contains {"check": "plain-http", "where": place(m), "line": "a default backend answers every host, without tls"} if {
	some m in input.manifests
	m.kind == "Ingress"
	m.spec.defaultBackend
}

# A rule without a host is for all of them.
host_of(rule) := object.get(rule, "host", "*")

covered(m, host) if {
	some entry in m.spec.tls
	host in entry.hosts
	entry.secretName
}

deny contains {"check": "plain-http", "where": c.where, "line": "no deployment.certificate: the last hop is not encrypted"} if {
	some c in servers
	not setting_of(c, "deployment.certificate")
}

proof contains {"check": "plain-http", "where": c.where, "line": sprintf("--set=deployment.certificate=%s", [setting_of(c, "deployment.certificate")])} if {
	some c in servers
}

proof contains {"check": "plain-http", "where": place(m), "line": sprintf("tls for %s", [host_of(rule)])} if {
	some m in input.manifests
	m.kind == "Ingress"
	some rule in m.spec.rules
	covered(m, host_of(rule))
}

# The last one counts, as cerebeam serve takes them: --set=NAME=VALUE, or --set and NAME=VALUE.
setting_of(c, name) := value if {
	args := arguments(c.container)
	values := [v | some i; args[i]; v := setting_at(args, i, name)]
	n := count(values)
	n > 0
	value := values[n - 1]
}

setting_at(args, i, name) := trim_prefix(args[i], prefix) if {
	prefix := concat("", ["--set=", name, "="])
	startswith(args[i], prefix)
}

setting_at(args, i, name) := trim_prefix(args[i], prefix) if {
	prefix := concat("", [name, "="])
	startswith(args[i], prefix)
	args[i - 1] == "--set"
}

# authentication

deny contains {"check": "no-authentication", "where": c.where, "line": "deployment.profile is not production, or deployment.jwks is missing"} if {
	some c in servers
	not authenticates(c)
}

authenticates(c) if {
	setting_of(c, "deployment.profile") == "production"
	setting_of(c, "deployment.jwks")
}

proof contains {"check": "no-authentication", "where": c.where, "line": sprintf("--set=deployment.profile=production, --set=deployment.jwks=%s", [setting_of(c, "deployment.jwks")])} if {
	some c in servers
	authenticates(c)
}

# unsigned-model and no-encryption: what serves must refuse unsigned bundles and encrypt what it keeps.

needed := {"unsigned-model": "models.public_key", "no-encryption": "system.encryption_keys"}

deny contains {"check": check, "where": c.where, "line": sprintf("%s is not set", [setting])} if {
	some c in servers
	some check, setting in needed
	not setting_of(c, setting)
}

proof contains {"check": check, "where": c.where, "line": sprintf("--set=%s=%s", [setting, setting_of(c, setting)])} if {
	some c in servers
	some check, setting in needed
}

# no-audit, of the service: keys that do not lie beside the log, and checkpoints in a second place.

sealed := {"system.audit_keys", "system.audit_sink"}

deny contains {"check": "no-audit", "where": c.where, "line": sprintf("%s is not set", [setting])} if {
	some c in servers
	some setting in sealed
	not setting_of(c, setting)
}

proof contains {"check": "no-audit", "where": c.where, "line": sprintf("--set=%s=%s", [setting, setting_of(c, setting)])} if {
	some c in servers
	some setting in sealed
}

# identifier-in-label

identifying := `(patient|(^|[^a-z])mrn([^a-z]|$)|(^|[^a-z])ssn([^a-z]|$)|birth|(^|[^a-z])dob([^a-z]|$)|surname|first-?name|[0-9]{3}-[0-9]{2}-[0-9]{4})`

names contains {"where": place(m), "text": sprintf("%s: %s", [key, value])} if {
	some m in input.manifests
	some key, value in object.union(object.get(m.metadata, "labels", {}), object.get(m.metadata, "annotations", {}))
	is_string(value)
}

deny contains {"check": "identifier-in-label", "where": n.where, "line": n.text} if {
	some n in names
	regex.match(identifying, lower(n.text))
}

proof contains {"check": "identifier-in-label", "where": "all", "line": sprintf("%d labels and annotations looked at", [count(names)])} if count(names) > 0

# default-password and secret-in-env: no password in a manifest, known or not.

known := {"admin", "changeme", "cerebeam", "default", "letmein", "minio", "minioadmin", "mlflow", "password", "postgres", "redis", "root", "secret", "test", "12345678"}

texts contains {"where": c.where, "name": "", "text": arg} if {
	some c in containers
	some arg in array.concat(object.get(c.container, "args", []), object.get(c.container, "command", []))
}

texts contains {"where": c.where, "name": e.name, "text": e.value} if {
	some c in containers
	some e in object.get(c.container, "env", [])
	e.value
}

texts contains {"where": place(m), "name": key, "text": value} if {
	some m in input.manifests
	m.kind == "Secret"
	some key, value in object.get(m, "stringData", {})
}

texts contains {"where": place(m), "name": key, "text": base64.decode(value)} if {
	some m in input.manifests
	m.kind == "Secret"
	some key, value in object.get(m, "data", {})
	base64.is_valid(value)
}

texts contains {"where": place(m), "name": key, "text": line} if {
	some m in input.manifests
	m.kind == "ConfigMap"
	some key, value in object.get(m, "data", {})
	some line in split(value, "\n")
}

secret_name(name) if regex.match(`(password|passwd|secret|token|api_?key|private_?key|credential)`, lower(name))

password_of(t) := t.text if {
	secret_name(t.name)
	t.text != ""
}

password_of(t) := match if {
	not secret_name(t.name)
	found := regex.find_all_string_submatch_n(`://[^/:@]*:([^@/]+)@`, t.text, 1)
	match := found[0][1]
}

deny contains {"check": "default-password", "where": t.where, "line": sprintf("%s holds a password that everybody knows", [label(t)])} if {
	some t in texts
	lower(password_of(t)) in known
}

deny contains {"check": "secret-in-env", "where": t.where, "line": sprintf("%s holds a secret in clear", [label(t)])} if {
	some t in texts
	not lower(password_of(t)) in known
	password_of(t)
}

deny contains {"check": "secret-in-env", "where": c.where, "line": sprintf("%s comes from a secret through the environment: mount it as a file", [e.name])} if {
	some c in containers
	some e in object.get(c.container, "env", [])
	e.valueFrom.secretKeyRef
}

label(t) := "an argument" if t.name == ""

label(t) := t.name if t.name != ""

proof contains {"check": check, "where": "all", "line": sprintf("%d arguments and variables looked at, none holds one", [count(texts)])} if {
	some check in {"default-password", "secret-in-env"}
	count(texts) > 0
}

# body-in-log

deny contains {"check": "body-in-log", "where": place(m), "line": key} if {
	some m in input.manifests
	m.kind == "Ingress"
	some key, value in object.get(m.metadata, "annotations", {})
	contains(value, "request_body")
}

deny contains {"check": "body-in-log", "where": c.where, "line": "system.log_level=DEBUG"} if {
	some c in servers
	setting_of(c, "system.log_level") == "DEBUG"
}

proof contains {"check": "body-in-log", "where": c.where, "line": sprintf("--set=system.log_level=%s", [setting_of(c, "system.log_level")])} if {
	some c in servers
	setting_of(c, "system.log_level") != "DEBUG"
}

# wide-cors

deny contains {"check": "wide-cors", "where": c.where, "line": sprintf("deployment.cors_origins holds %s", [origin])} if {
	some c in servers
	some origin in json.unmarshal(setting_of(c, "deployment.cors_origins"))
	not regex.match(`^https://[a-z0-9.-]+(:[0-9]+)?$`, origin)
}

deny contains {"check": "wide-cors", "where": place(m), "line": key} if {
	some m in input.manifests
	m.kind == "Ingress"
	some key, value in object.get(m.metadata, "annotations", {})
	endswith(key, "cors-allow-origin")
	contains(value, "*")
}

proof contains {"check": "wide-cors", "where": c.where, "line": sprintf("--set=deployment.cors_origins=%s", [setting_of(c, "deployment.cors_origins")])} if some c in servers

# no-disruption-budget: of every deployment that serves.

budget_of(p) := m if {
	some m in input.manifests
	m.kind == "PodDisruptionBudget"
	every key, value in m.spec.selector.matchLabels {
		p.meta.labels[key] == value
	}
}

deny contains {"check": "no-disruption-budget", "where": p.where, "line": "no PodDisruptionBudget chooses this pod"} if {
	some p in pods
	some c in p.spec.containers
	"serve" in arguments(c)
	not budget_of(p)
}

proof contains {"check": "no-disruption-budget", "where": place(budget_of(p)), "line": sprintf("maxUnavailable: %v", [budget_of(p).spec.maxUnavailable])} if {
	some p in pods
	budget_of(p)
}

# no-backup

backup_jobs contains m if {
	some m in input.manifests
	m.kind == "CronJob"
	not object.get(m.spec, "suspend", false)
	some c in m.spec.jobTemplate.spec.template.spec.containers
	"backup" in arguments(c)
}

deny contains {"check": "no-backup", "where": "all", "line": "no CronJob runs cerebeam backup create"} if {
	count(servers) > 0
	count(backup_jobs) == 0
}

proof contains {"check": "no-backup", "where": place(m), "line": sprintf("schedule: %s", [m.spec.schedule])} if some m in backup_jobs
