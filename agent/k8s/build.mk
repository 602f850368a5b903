# Kubernetes objects: parsed from YAML or JSON, derived as the control plane would, written back as YAML.
$(eval $(call library,k8s,$(wildcard agent/k8s/*.cpp),base,-lyaml))
