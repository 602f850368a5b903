# What people type. Anything that needs a package first runs the dependency check, which is quick when nothing is missing.
.PHONY: all deps help clean check test bench lint demo install

all: $(PROGRAMS)

help: ## this text
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
