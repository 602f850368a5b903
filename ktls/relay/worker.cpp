// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The loop of a child's thread, the beginning and end of its connections, and its pipes.
#include "ktls/relay/worker.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "ktls/record/control_record.hpp"

namespace weft::relay {
namespace {

constexpr std::uint64_t kFromParent = ~std::uint64_t{0};
constexpr int kEventsAtOnce = 128;

} // namespace

Worker::Worker(Shared& shared, std::uint32_t thread)
    : shared_(shared), thread_(thread), epoll_(shared.epoll[thread]), locals_(shared.room / shared.threads + 1),
      waiting_(locals_.size()) {
    std::vector<bool> used(shared.pool);
    for (std::uint32_t number = thread; number < shared.touched.load(); number += shared.threads) {
        for (Half& half : shared.slots[number].half) {
            if (shared.slots[number].state.load() != kCarried) {
                half.pipe.store(0);
            } else if (const std::uint32_t pipe = half.pipe.load(); pipe != 0) {
                used[pipe - 1] = true;
            }
        }
    }
    free_pipes_.reserve(shared.pool / shared.threads + 1);
    for (std::uint32_t pipe = thread; pipe < shared.pool; pipe += shared.threads) {
        if (!used[pipe]) {
            close_pipe(pipe); // it may hold the last bytes of a connection that has ended
            free_pipes_.push_back(pipe);
        }
    }
}

void Worker::run() {
    epoll_event events[kEventsAtOnce];
    events[0].events = EPOLLIN;
    events[0].data.u64 = kFromParent;
    (void)::epoll_ctl(epoll_, EPOLL_CTL_ADD, shared_.to_child[thread_], &events[0]);
    for (std::uint32_t number = thread_; number < shared_.touched.load(); number += shared_.threads) {
        look_at(shared_.slots[number]);
        move_both(shared_.slots[number]);
    }
    while (true) {
        const int count = ::epoll_wait(epoll_, events, kEventsAtOnce, -1);
        for (int i = 0; i < count; ++i) {
            const std::uint64_t about = events[i].data.u64; // see watch()
            if (about == kFromParent) {
                std::uint64_t times = 0;
                (void)!::read(shared_.to_child[thread_], &times, sizeof times);
                shared_.for_child[thread_].take(shared_.touched.load(),
                                                [this](std::uint32_t number) { look_at(shared_.slots[number]); });
                continue;
            }
            Slot& slot = shared_.slots[static_cast<std::uint32_t>(about) >> 1];
            if (slot.state.load() == kCarried && slot.generation.load() == about >> 32) {
                on_event(slot, static_cast<int>(about & 1), events[i].events);
            }
        }
    }
}

// Somebody asked for this: the parent, with a new connection, a wish to close one, a pause or its end; or this thread,
// for one that had more to do than its turn allowed, or waited for a pipe.
void Worker::look_at(Slot& slot) {
    if (slot.state.load() != kCarried) {
        return;
    }
    const bool is_new = local(slot).generation != slot.generation.load();
    if (is_new) {
        take_up(slot);
    }
    if (slot.close_wanted.load() != 0) {
        (void)end(slot, WEFT_RELAY_REASON_REQUESTED, 0);
        return;
    }
    // What was spliced is in whole records, and none follows for now. By number: what is said late, of a hold that is
    // over, must not pass for the next one.
    if (const std::uint8_t wanted = slot.hold_wanted.load(); wanted != 0 && slot.held.exchange(wanted) != wanted) {
        shared_.tell_parent(slot);
    }
    if (!is_new) {
        move_both(slot);
    }
}

// Without asking epoll, which does not tell of everything: poll hides a KeyUpdate that a splice has met.
void Worker::move_both(Slot& slot) {
    for (const int side : {kApp, kPeer}) {
        if (slot.state.load() == kCarried) {
            on_event(slot, side, EPOLLIN);
        }
    }
}

// A connection that is new here: from the parent, or from the child before us.
void Worker::take_up(Slot& slot) {
    Local& mine = local(slot);
    mine.generation = slot.generation.load(); // it may wait for a pipe still, as the connection before
    for (const int side : {kApp, kPeer}) {
        const Stream from = stream(slot, side);
        int left = 0;
        if (from.half.pipe.load() != 0) {
            (void)::ioctl(pipe_of(from).read, FIONREAD, &left);
        }
        from.in_pipe = static_cast<std::uint32_t>(left);
        if (left == 0) {
            release_pipe(from);
        }
        from.urgent = false;
        watch(slot, side);
        if (from.source_tls) {
            ktls::push(from.source); // what a killed child has left unpushed
        }
    }
}

// epoll tells what a socket is ready for, and from then on every change. The label names slot, side, and the
// generation, which tells a late event of an earlier connection.
void Worker::watch(Slot& slot, int side) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 =
        std::uint64_t{slot.generation.load()} << 32 | shared_.number_of(slot) << 1 | static_cast<unsigned int>(side);
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, slot.fds[side], &event) != 0) {
        (void)end(slot, WEFT_RELAY_REASON_RELAY_ERROR, static_cast<std::uint32_t>(errno));
    }
}

void Worker::say(Slot& slot, std::uint8_t news) {
    if ((slot.news.fetch_or(news) & news) == 0) {
        shared_.tell_parent(slot);
    }
}

void Worker::on_event(Slot& slot, int side, std::uint32_t events) {
    if ((events & EPOLLERR) != 0) {
        // Edge-triggered errors come once. Both halves may be done with the socket, so nobody else would notice.
        int code = 0;
        socklen_t size = sizeof code;
        (void)::getsockopt(slot.fds[side], SOL_SOCKET, SO_ERROR, &code, &size);
        if (code != 0) {
            (void)end_broken(slot, side, code);
            return;
        }
    }
    const Stream from = stream(slot, side);
    from.urgent = from.urgent || (events & EPOLLPRI) != 0;
    if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        move(from);
    }
    // A socket is nearly always writable, which means nothing to a direction that has nothing to write.
    if (const Stream to = stream(slot, 1 - side); to.in_pipe > 0 || to.half.progress.load() != kOpen) {
        move(to);
    }
    if (slot.state.load() == kCarried && slot.half[kApp].progress.load() == kClosed &&
        slot.half[kPeer].progress.load() == kClosed) {
        (void)end(slot, WEFT_RELAY_REASON_FINISHED, 0);
    }
}

bool Worker::end(Slot& slot, int reason, std::uint32_t detail) {
    if (slot.state.load() != kCarried) {
        return false;
    }
    for (const int side : {kApp, kPeer}) {
        const Stream over = stream(slot, side);
        if (over.half.pipe.load() != 0 && over.in_pipe > 0) {
            close_pipe(over.half.pipe.load() - 1); // its bytes have nowhere to go, and nobody else must get them
        }
        release_pipe(over);
        // The descriptors stay open until the parent has seen the end; others may hold the sockets, so forget them
        // here.
        (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, over.source, nullptr);
    }
    slot.detail.store(detail);
    slot.reason.store(static_cast<std::uint16_t>(reason));
    slot.state.store(kEnded);
    shared_.tell_parent(slot); // from here on it is the parent's
    wake_waiting();
    wake_waiting(); // it may have had two pipes
    return false;
}

bool Worker::end_broken(Slot& slot, int side, int code) {
    int reason = side == kApp ? WEFT_RELAY_REASON_APP_RESET : WEFT_RELAY_REASON_PEER_RESET;
    if (code == EBADMSG || code == EMSGSIZE || code == EINVAL) {
        reason = WEFT_RELAY_REASON_BAD_RECORD;
    } else if (code == EKEYEXPIRED) {
        reason = WEFT_RELAY_REASON_KEY_UPDATE;
    }
    return end(slot, reason, static_cast<std::uint32_t>(code));
}

Worker::Stream Worker::stream(Slot& slot, int from) {
    Local& mine = local(slot);
    const int to = 1 - from;
    return {.slot = slot,
            .half = slot.half[from],
            .in_pipe = mine.in_pipe[from],
            .urgent = mine.urgent[from],
            .from = from,
            .source = slot.fds[from],
            .destination = slot.fds[to],
            .source_tls = slot.is_tls(from),
            .destination_tls = slot.is_tls(to)};
}

// --- pipes -----------------------------------------------------------------------------------------------------

// The numbers go first: others may get them the moment that they are closed.
void Worker::close_pipe(std::uint32_t pipe) {
    if (const Pipe old = std::exchange(shared_.pipes[pipe], Pipe{-1, -1}); old.read >= 0) {
        (void)::close(old.read);
        (void)::close(old.write);
    }
}

// False: all pipes hold data of others, and the connection waits for one.
bool Worker::attach(const Stream& stream) {
    if (stream.half.pipe.load() != 0) {
        return true;
    }
    if (!free_pipes_.empty()) {
        // The kernel writes both numbers into the shared memory before they become descriptors: none is ever lost.
        Pipe& pipe = shared_.pipes[free_pipes_.back()];
        if (pipe.read >= 0 || ::pipe2(&pipe.read, O_NONBLOCK) == 0) {
            stream.half.pipe.store(free_pipes_.back() + 1);
            free_pipes_.pop_back();
            return true;
        }
        pipe = {-1, -1};
    }
    if (!std::exchange(local(stream.slot).waiting, true)) {
        waiting_[(first_waiting_ + waiting_count_++) % waiting_.size()] = shared_.number_of(stream.slot);
    }
    return false;
}

void Worker::release_pipe(const Stream& stream) {
    if (const std::uint32_t pipe = stream.half.pipe.exchange(0); pipe != 0) {
        stream.in_pipe = 0;
        free_pipes_.push_back(pipe - 1);
    }
}

void Worker::wake_waiting() {
    while (waiting_count_ > 0) {
        Slot& next = shared_.slots[waiting_[first_waiting_]];
        first_waiting_ = (first_waiting_ + 1) % waiting_.size();
        --waiting_count_;
        local(next).waiting = false;
        if (next.state.load() == kCarried) {
            return shared_.tell_child(next);
        }
    }
}

} // namespace weft::relay
