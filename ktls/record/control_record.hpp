// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Records of a kTLS socket that are no application data: reading the one that stands in the way, and sending the last.
// Of the library, and of weft-relay, which takes nothing else from it.
#pragma once

#include <cstdint>

namespace weft::ktls {

enum class Found : std::uint8_t {
    kNothing,     ///< no record is there yet, or an empty one was: go on
    kData,        ///< application data is next; it was not touched
    kIgnored,     ///< a ticket or a harmless alert, taken out
    kCloseNotify, ///< the peer ended its stream in order
    kAlert,       ///< a fatal alert; detail is its number
    kKeyUpdate,   ///< taken out; detail is 1 when the peer wants us to change our key, too
    kEnd,         ///< FIN, and no close_notify before it
    kUnknown,     ///< a kind of record that has no place here; detail is its type
    kError,       ///< detail is errno
};

struct Control {
    Found found;
    std::uint32_t detail;
};

/// Looks at the next record, and takes it out unless it is application data.
Control take_control(int fd);
/// Sends close_notify. 0 or errno: EAGAIN when the send buffer is full.
int send_close_notify(int fd);
/// Announces that the next record is under the next key. 0 or errno.
int send_key_update(int fd, bool request_answer);
/// Makes kernel 6.1 send what its splice left unpushed: setting TCP_NODELAY pushes.
void push(int fd);

} // namespace weft::ktls
