# cni leaves the choice of basecore's form to its user: tests link it as usual, weft-cni wholly static (no library of
# the host is needed where it is copied to). Sanitizers need the shared C library.
CNI_MAIN := cni-plugin/main.cpp cni-plugin/fmt_static.cpp
$(eval $(call library,cni,$(filter-out $(CNI_MAIN),$(wildcard cni-plugin/*.cpp)),enrolwire,))
ifeq ($(SANITIZE),)
$(eval $(call program,weft-cni,$(CNI_MAIN) agent/base/ip.cpp,cni,-static-pie))
else
$(eval $(call program,weft-cni,cni-plugin/main.cpp,cni basecore,))
endif
