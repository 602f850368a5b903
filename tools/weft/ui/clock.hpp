// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What time is it, in the unit of the service map?
#pragma once

#include <chrono>

namespace weft::ui {

/// Seconds since 1970, by the machine's wall clock.
inline double now_seconds() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

} // namespace weft::ui
