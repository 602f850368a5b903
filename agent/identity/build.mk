# Keys and certificates of this node's workloads: sources, federation, renewal.
$(eval $(call library,identity,$(wildcard agent/identity/*.cpp),pki carpc source ktls apipb base,-lcurl))
