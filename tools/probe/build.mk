$(eval $(call library,probe,$(wildcard tools/probe/*.cpp),base,))
$(eval $(call library,simulate,$(wildcard tools/weft/simulate*.cpp),probe verdict compiler k8s store base,))
