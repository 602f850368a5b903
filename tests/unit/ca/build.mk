$(eval $(call library,catest,tests/unit/ca/world.cpp,ca,-lgtest))
$(eval $(call test,ca_test,$(filter-out tests/unit/ca/world.cpp,$(wildcard tests/unit/ca/*.cpp)),catest ca pki base,,unit))
