# appcore has no kernel and no gRPC, so that its tests build quickly.
APP_CORE := $(wildcard agent/app/option*.cpp) agent/app/loop.cpp
$(eval $(call library,appcore,$(APP_CORE),otlpendpoint base,-lyaml-cpp -lpthread))
$(eval $(call program,weftd,$(filter-out $(APP_CORE),$(wildcard agent/app/*.cpp)),appcore mesh identity admin telemetry otlp enrol reconcile compiler source store k8s bpfmaps base,-lspdlog))
