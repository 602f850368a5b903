# basecore needs no cryptography, so that weft-cni stays small; base is everything.
$(eval $(call library,basecore,agent/base/ip.cpp,,-lfmt))
$(eval $(call library,base,$(filter-out agent/base/ip.cpp,$(wildcard agent/base/*.cpp)),basecore,-lcrypto))
