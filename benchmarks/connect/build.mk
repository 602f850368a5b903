# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
$(eval $(call bench,connect_cost,benchmarks/connect/connect_cost.cpp,world base,))
