// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What systemd is told: ready, alive, stopping (sd_notify(3), "Protocol"). Spoken here, as libsystemd brings six more
// libraries into the process for one datagram.
#pragma once

#include <chrono>
#include <string_view>

namespace weft::app {

/// Sends `state` ("READY=1") to the service manager; nothing when there is none. A manager that does not listen is its
/// own trouble: nobody here could do anything about it.
void notify_service_manager(std::string_view state);

/// How often the manager wants to hear WATCHDOG=1 from this process; zero: never.
std::chrono::microseconds watchdog_timeout();

} // namespace weft::app
