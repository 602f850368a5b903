# weftcli is everything but main, so that tests link what ships. simulate and lab join when their libraries are there.
WEFT_SOURCES := $(filter-out tools/weft/main.cpp tools/weft/simulate%,$(wildcard tools/weft/*.cpp tools/weft/ui/*.cpp))
WEFT_SIMULATE := $(if $(wildcard tools/probe/build.mk),$(wildcard tools/weft/simulate*.cpp))
WEFT_LAB := $(and $(wildcard tools/lab/build.mk),$(wildcard tools/probe/build.mk),$(wildcard tools/lab/command.cpp))

$(eval $(call library,weftcli,$(WEFT_SOURCES),apipb features telemetry bpfmaps base,-lfmt))
$(eval $(call program,weft,tools/weft/main.cpp $(WEFT_SIMULATE),weftcli $(if $(WEFT_SIMULATE),simulate probe) $(if $(WEFT_LAB),lab),))

$(OUT)/obj/tools/weft/main.o: $(WEFT_SIMULATE) $(WEFT_LAB)
$(OUT)/obj/tools/weft/main.o: CPPFLAGS += $(if $(WEFT_SIMULATE),-DWEFT_WITH_SIMULATE) $(if $(WEFT_LAB),-DWEFT_WITH_LAB)
# The page's files are inside this object; ccache sees .incbin and leaves it alone.
$(OUT)/obj/tools/weft/ui/assets.o: $(wildcard tools/weft/ui/static/*)
