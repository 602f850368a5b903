# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
# Runs in a guest, see bench-mtls.
$(eval $(call bench,mtls_cost,$(wildcard benchmarks/mtls/*.cpp),e2edriver ktls lab base,))
