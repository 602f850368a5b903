# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
$(eval $(call bench,accel_cost,benchmarks/accel/accel_cost.cpp,world base,))
