// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Moving bytes of one direction: source, pipe, destination. Each oddity below was met in a real kernel; docs/ktls.md
// tells them one by one.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include <linux/sockios.h>

#include "ktls/record/control_record.hpp"
#include "ktls/relay/worker.hpp"

namespace weft::relay {

using ktls::Control;
using ktls::Found;
using ktls::push;
using ktls::send_close_notify;
using ktls::take_control;

namespace {

constexpr std::size_t kAtOnce = 65536;
constexpr std::uint32_t kWorthFilling = 8192; // a source that gave this much probably has more
constexpr std::uint32_t kFullEnough = 49152;
constexpr int kRounds = 16; // at most so many fillings in one turn, then others have theirs

struct Ends {
    int source;
    int destination;
    bool source_tls;
    bool destination_tls;
};

Ends ends_of(const Slot& slot, int direction) {
    const bool app_tls = (slot.flags & WEFT_RELAY_APP_TLS) != 0;
    const bool peer_tls = (slot.flags & WEFT_RELAY_PEER_TLS) != 0;
    return direction == 0 ? Ends{slot.app, slot.peer, app_tls, peer_tls} : Ends{slot.peer, slot.app, peer_tls, app_tls};
}

} // namespace

Worker::Flow Worker::move(std::uint32_t number, int direction) {
    Slot& slot = memory_.slots()[number];
    Half& half = slot.half[direction];
    if (direction == 0 && slot.hold_wanted.load() != 0) {
        // What was spliced is in whole records, and none follows until the keys are changed.
        if (slot.held.exchange(1) == 0) {
            memory_.tell_parent(number);
        }
        return Flow::kWaits;
    }
    if (half.closed.load() != 0) {
        return Flow::kClosed;
    }
    for (int round = 0; round < kRounds; ++round) {
        bool empty = false;
        if (local(number).in_pipe[direction] == 0 && half.ended.load() == 0) {
            if (const Flow flow = fill(number, direction, empty); flow != Flow::kMore) {
                return flow;
            }
        }
        if (local(number).in_pipe[direction] > 0) {
            if (const Flow flow = drain(number, direction); flow != Flow::kMore) {
                return flow;
            }
        } else if (half.ended.load() != 0) {
            return close_half(number, direction);
        } else if (empty) {
            detach(number, direction);
            return Flow::kWaits;
        }
    }
    return Flow::kMore;
}

// Source to pipe. `empty`: the source has nothing, and the pipe neither.
Worker::Flow Worker::fill(std::uint32_t number, int direction, bool& empty) {
    Slot& slot = memory_.slots()[number];
    const Ends ends = ends_of(slot, direction);
    if (direction == 1 && slot.rekey_wanted.load() != 0) {
        empty = true; // what follows waits for its key
        return Flow::kMore;
    }
    if (!attach(number, direction)) {
        return Flow::kWaits;
    }
    std::uint32_t& in_pipe = local(number).in_pipe[direction];
    const int write_end = memory_.pipes()[slot.half[direction].pipe.load() - 1].write;
    while (in_pipe < kFullEnough) {
        const auto got = ::splice(ends.source, nullptr, write_end, nullptr, kAtOnce, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (got > 0) {
            in_pipe += static_cast<std::uint32_t>(got);
            if (in_pipe < kWorthFilling) {
                return Flow::kMore;
            }
            continue;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            // Else it may be the pipe that is full, or the mark that is passed once the pipe is empty.
            empty = in_pipe == 0 && !pass_mark(number, direction);
            return Flow::kMore;
        }
        if (in_pipe > 0) {
            return Flow::kMore; // deliver first; the same answer comes again
        }
        if (got == 0 && !ends.source_tls) {
            if (!pass_mark(number, direction)) { // an urgent byte hides what is behind it, also the end
                slot.half[direction].ended.store(1);
            }
            return Flow::kMore;
        }
        if (ends.source_tls && (got == 0 || errno == EINVAL || errno == EIO || errno == EKEYEXPIRED)) {
            return on_control(number, direction, got == 0);
        }
        return end_broken(number, direction == 0, errno);
    }
    return Flow::kMore;
}

// splice stops before an urgent byte for ever. It goes on as an ordinary one, as TLS has no other; true: it did.
bool Worker::pass_mark(std::uint32_t number, int direction) {
    const Slot& slot = memory_.slots()[number];
    const Ends ends = ends_of(slot, direction);
    int at_mark = 0;
    char byte = 0;
    if (!local(number).urgent[direction] || ends.source_tls || ::ioctl(ends.source, SIOCATMARK, &at_mark) != 0 ||
        at_mark == 0 || ::read(ends.source, &byte, 1) != 1) {
        return false;
    }
    // The pipe is empty, so there is room.
    const auto put = ::write(memory_.pipes()[slot.half[direction].pipe.load() - 1].write, &byte, 1);
    local(number).in_pipe[direction] += put == 1 ? 1U : 0U;
    return put == 1;
}

// Pipe to destination. The exact byte count, and never SPLICE_F_MORE: 6.12 leaves the last record open else.
Worker::Flow Worker::drain(std::uint32_t number, int direction) {
    Slot& slot = memory_.slots()[number];
    Half& half = slot.half[direction];
    const Ends ends = ends_of(slot, direction);
    std::uint32_t& in_pipe = local(number).in_pipe[direction];
    const int read_end = memory_.pipes()[half.pipe.load() - 1].read;
    while (in_pipe > 0) {
        const auto put =
            ::splice(read_end, nullptr, ends.destination, nullptr, in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (put > 0) {
            in_pipe -= static_cast<std::uint32_t>(put);
            const auto total = half.bytes.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(put);
            half.bytes.store(total, std::memory_order_relaxed);
            if (const auto limit = half.limit_at.load(); limit != 0 && total >= limit && half.limit_told.load() == 0) {
                half.limit_told.store(1);
                if ((slot.flags & WEFT_RELAY_LIMIT_CLOSE) != 0) {
                    return end(number, WEFT_RELAY_REASON_KEY_LIMIT, 0);
                }
                memory_.tell_parent(number);
            }
            if (in_pipe > 0 && ends.destination_tls) {
                push(ends.destination); // 6.1 may have left it unsent, and would then wait for ever
            }
            continue;
        }
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0 && errno == EAGAIN) {
            if (ends.destination_tls) {
                push(ends.destination);
            }
            return Flow::kWaits;
        }
        return end_broken(number, direction == 1, put < 0 ? errno : EPIPE);
    }
    return Flow::kMore;
}

// The source ended and everything is delivered: say so to the destination.
Worker::Flow Worker::close_half(std::uint32_t number, int direction) {
    Slot& slot = memory_.slots()[number];
    Half& half = slot.half[direction];
    const Ends ends = ends_of(slot, direction);
    detach(number, direction);
    if (ends.destination_tls && half.alert_sent.load() == 0) {
        const int code = send_close_notify(ends.destination);
        if (code == EAGAIN || code == EINTR) {
            return code == EINTR ? Flow::kMore : Flow::kWaits; // FIN must not overtake the alert
        }
        if (code != 0) {
            return end_broken(number, direction == 1, code);
        }
        half.alert_sent.store(1);
    }
    // The kernel may have accepted records that do not fit the full socket yet, and FIN would overtake them.
    pollfd room{ends.destination, POLLOUT, 0};
    if (ends.destination_tls && (::poll(&room, 1, 0) != 1 || (room.revents & (POLLOUT | POLLERR)) == 0)) {
        return Flow::kWaits;
    }
    if (::shutdown(ends.destination, SHUT_WR) != 0 && errno != ENOTCONN) {
        return end_broken(number, direction == 1, errno);
    }
    half.closed.store(1);
    return Flow::kClosed;
}

// splice gave 0, which may be an empty record, or EINVAL, which means a record that is no data.
Worker::Flow Worker::on_control(std::uint32_t number, int direction, bool was_zero) {
    Slot& slot = memory_.slots()[number];
    const Ends ends = ends_of(slot, direction);
    const Control control = take_control(ends.source);
    switch (control.found) {
    case Found::kNothing:
    case Found::kIgnored:
        return Flow::kMore;
    case Found::kData:
        // After a 0 this is the record behind the empty one. After an error it would be the same error for ever.
        return was_zero ? Flow::kMore : end(number, WEFT_RELAY_REASON_BAD_RECORD, EINVAL);
    case Found::kCloseNotify:
        slot.half[direction].ended.store(1);
        return Flow::kMore;
    case Found::kAlert:
        return end(number, WEFT_RELAY_REASON_PEER_ALERT, control.detail);
    case Found::kKeyUpdate:
        if ((slot.flags & WEFT_RELAY_REKEY) == 0 || direction == 0) {
            return end(number, WEFT_RELAY_REASON_KEY_UPDATE, 0);
        }
        slot.detail.store(control.detail);
        slot.rekey_wanted.store(1);
        memory_.tell_parent(number);
        return Flow::kMore;
    case Found::kEnd:
        return end(number, WEFT_RELAY_REASON_TRUNCATED, 0);
    case Found::kUnknown:
        return end(number, WEFT_RELAY_REASON_BAD_RECORD, control.detail);
    case Found::kError:
        break;
    }
    return end_broken(number, direction == 0, static_cast<int>(control.detail));
}

} // namespace weft::relay
