# A browser for tests of pages.
$(eval $(call library,chromium,tests/support/chromium/chromium.cpp,base,-lfmt -lgtest))
