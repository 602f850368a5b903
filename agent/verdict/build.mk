$(eval $(call library,verdict,$(wildcard agent/verdict/*.cpp),base,))
