// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Moving bytes of one direction: source, pipe, destination. Each oddity below was met in a real kernel; docs/ktls.md
// tells them one by one.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <linux/sockios.h>

#include "ktls/record/control_record.hpp"
#include "ktls/relay/worker.hpp"

namespace weft::relay {

using ktls::Found;

namespace {

constexpr std::size_t kAtOnce = 65536;
constexpr std::uint32_t kWorthFilling = 8192; // a source that gave this much probably has more
constexpr std::uint32_t kFullEnough = 49152;
constexpr int kRounds = 16; // at most so many fillings in one turn, then others have theirs

} // namespace

void Worker::move(const Stream& stream) {
    for (int round = 0; round < kRounds; ++round) {
        if (stream.slot.state.load() != kCarried || stream.half.progress.load() == kClosed ||
            (stream.from == kApp && stream.slot.hold_wanted.load() != 0)) {
            return;
        }
        if (stream.in_pipe == 0 && stream.half.progress.load() == kOpen && !fill(stream)) {
            return;
        }
        if (stream.in_pipe > 0 && !drain(stream)) {
            return;
        }
        if (stream.in_pipe == 0 && stream.half.progress.load() != kOpen && !close_half(stream)) {
            return;
        }
    }
    detach(stream); // it is empty
    shared_.tell_child(stream.slot);
}

// Source to pipe.
bool Worker::fill(const Stream& stream) {
    if (stream.from == kPeer && (stream.slot.news.load() & kPeerRekeyed) != 0) {
        detach(stream); // what follows waits for its key
        return false;
    }
    if (!attach(stream)) {
        return false;
    }
    while (stream.in_pipe < kFullEnough) {
        const auto got = ::splice(stream.source, nullptr, pipe_of(stream).write, nullptr, kAtOnce,
                                  SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (got > 0) {
            stream.in_pipe += static_cast<std::uint32_t>(got);
            if (stream.from == kPeer && !spend(stream, static_cast<std::uint32_t>(got))) {
                return false;
            }
            if (stream.in_pipe < kWorthFilling) {
                return true;
            }
        } else if (got == 0 || errno != EINTR) {
            const int code = got == 0 ? 0 : errno;
            if (stream.in_pipe > 0 || pass_mark(stream)) {
                return true; // deliver first; the same answer comes again
            }
            if (code == EAGAIN) {
                detach(stream);
                return false;
            }
            if (stream.source_tls && (code == 0 || code == EINVAL || code == EIO || code == EKEYEXPIRED)) {
                return on_control(stream, code == 0);
            }
            if (code == 0) {
                stream.half.progress.store(kSourceEnded);
                return true;
            }
            return end_broken(stream.slot, stream.from, code);
        }
    }
    return true;
}

// splice stops before an urgent byte for ever, which also hides the end behind it. It goes on as an ordinary one, as
// TLS has no other; true: it did.
bool Worker::pass_mark(const Stream& stream) {
    int at_mark = 0;
    char byte = 0;
    if (!stream.urgent || stream.source_tls || ::ioctl(stream.source, SIOCATMARK, &at_mark) != 0 || at_mark == 0 ||
        ::read(stream.source, &byte, 1) != 1) {
        return false;
    }
    stream.in_pipe += ::write(pipe_of(stream).write, &byte, 1) == 1 ? 1U : 0U; // it is empty, so there is room
    return stream.in_pipe > 0;
}

// Pipe to destination. The exact byte count, and never SPLICE_F_MORE: 6.12 leaves the last record open else.
bool Worker::drain(const Stream& stream) {
    while (stream.in_pipe > 0) {
        const auto put = ::splice(pipe_of(stream).read, nullptr, stream.destination, nullptr, stream.in_pipe,
                                  SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        const int code = put < 0 ? errno : EPIPE;
        if (put > 0) {
            stream.in_pipe -= static_cast<std::uint32_t>(put);
            stream.half.bytes.fetch_add(static_cast<std::uint64_t>(put), std::memory_order_relaxed);
            if (stream.from == kApp && !spend(stream, static_cast<std::uint32_t>(put))) {
                return false;
            }
        } else if (code != EAGAIN && code != EINTR) {
            return end_broken(stream.slot, 1 - stream.from, code);
        }
        if (stream.in_pipe > 0 && stream.destination_tls) {
            ktls::push(stream.destination); // 6.1 may have left it unsent, and would then wait for ever
        }
        if (put < 0 && code == EAGAIN) {
            return false;
        }
    }
    return true;
}

// A record of one byte wears a key as much as a full one, and one splice makes or takes one record for each 16 KiB.
bool Worker::spend(const Stream& stream, std::uint32_t bytes) {
    const std::uint64_t cost = std::max(bytes, std::uint32_t{WEFT_RELAY_LEAST_SPENT});
    const std::uint64_t spent = stream.half.spent.fetch_add(cost) + cost; // the parent may begin anew at any moment
    if (stream.slot.key_limit == 0 || spent < stream.slot.key_limit) {
        return true;
    }
    if ((stream.slot.flags & WEFT_RELAY_LIMIT_CLOSE) != 0) {
        return end(stream.slot, WEFT_RELAY_REASON_KEY_LIMIT, 0);
    }
    say(stream.slot, stream.from == kApp ? WEFT_RELAY_NEW_SEND_KEY : WEFT_RELAY_NEW_RECEIVE_KEY);
    return true;
}

// The source ended and everything is delivered: say so to the destination.
bool Worker::close_half(const Stream& stream) {
    detach(stream);
    if (stream.destination_tls && stream.half.progress.load() == kSourceEnded) {
        const int code = ktls::send_close_notify(stream.destination);
        if (code == EAGAIN || code == EINTR) {
            return code == EINTR; // FIN must not overtake the alert
        }
        if (code != 0) {
            return end_broken(stream.slot, 1 - stream.from, code);
        }
        stream.half.progress.store(kAlertSent);
    }
    // The kernel may have accepted records that do not fit the full socket yet, and FIN would overtake them.
    pollfd room{stream.destination, POLLOUT, 0};
    if (stream.destination_tls && (::poll(&room, 1, 0) != 1 || (room.revents & (POLLOUT | POLLERR)) == 0)) {
        return false;
    }
    if (::shutdown(stream.destination, SHUT_WR) != 0 && errno != ENOTCONN) {
        return end_broken(stream.slot, 1 - stream.from, errno);
    }
    stream.half.progress.store(kClosed);
    return false;
}

// splice gave 0, which may be an empty record, or an error, which means a record that is no data.
bool Worker::on_control(const Stream& stream, bool was_zero) {
    Slot& slot = stream.slot;
    int reason = WEFT_RELAY_REASON_BAD_RECORD;
    const ktls::Control control = ktls::take_control(stream.source);
    switch (control.found) {
    case Found::kNothing:
    case Found::kIgnored:
        return true;
    case Found::kCloseNotify:
        stream.half.progress.store(kSourceEnded);
        return true;
    case Found::kKeyUpdate:
        if ((slot.flags & WEFT_RELAY_REKEY) != 0 && stream.from == kPeer) {
            slot.detail.store(control.detail);
            say(slot, kPeerRekeyed);
            return true;
        }
        reason = WEFT_RELAY_REASON_KEY_UPDATE;
        break;
    case Found::kData:
        if (was_zero) {
            return true; // the record behind the empty one
        }
        break; // it would be the same error for ever
    case Found::kAlert:
        reason = WEFT_RELAY_REASON_PEER_ALERT;
        break;
    case Found::kEnd:
        reason = WEFT_RELAY_REASON_TRUNCATED;
        break;
    case Found::kUnknown:
        break;
    case Found::kError:
        return end_broken(slot, stream.from, static_cast<int>(control.detail));
    }
    return end(slot, reason, control.detail);
}

} // namespace weft::relay
