// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Gives up what weft-relay does not need: capabilities, and all but a few system calls.
#pragma once

namespace weft::relay {

/// Every capability, for good and for what is executed later. False: errno.
bool drop_capabilities();
/// The parent may still start itself anew, for an upgrade. No second time after that. False: errno.
bool confine_parent();
/// The calling thread may move bytes, and nothing else. False: errno.
bool confine_thread();

} // namespace weft::relay
