// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A backend that a Service lost: what the reconciler reports and the reaper acts on.
#pragma once

#include <cstdint>

#include "weft/abi/service.h"

namespace weft::bpf {

struct StaleBackend {
    std::uint64_t service = 0; ///< weft_service.service; 0: whatever Service led there
    weft_addr_port backend{};
};

} // namespace weft::bpf
