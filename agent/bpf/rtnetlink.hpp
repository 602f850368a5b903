// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One question to the kernel's routing netlink (rtnetlink(7)), in the calling thread's network namespace.
#pragma once

#include <libmnl/libmnl.h>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// Sends `request` and hands every answer to `take` with `data`. Error: the kernel's, when it refuses the request.
Result<> ask_rtnetlink(nlmsghdr* request, mnl_cb_t take, void* data);

} // namespace weft::bpf
