$(eval $(call test,mesh_view_test,$(wildcard tests/unit/mesh/*.cpp) agent/app/foreign_view.cpp,mesh store k8s base,,unit))
