// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The loop of a child's thread, and its pipes.
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

using ktls::push;

namespace {

constexpr std::uint64_t kFromParent = ~std::uint64_t{0};
constexpr int kEventsAtOnce = 128;

// What epoll gives back: slot, side, and the generation that tells a late event of an earlier connection.
std::uint64_t label(std::uint32_t number, bool app_side, std::uint32_t generation) {
    return std::uint64_t{generation} << 32 | number << 1 | (app_side ? 1U : 0U);
}

} // namespace

Worker::Worker(Memory& memory, std::uint32_t thread)
    : memory_(memory), thread_(thread), threads_(memory.header().threads), epoll_(memory.header().epoll[thread]),
      locals_((memory.header().slots + threads_ - 1) / threads_) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kFromParent;
    (void)::epoll_ctl(epoll_, EPOLL_CTL_ADD, memory.header().to_child[thread], &event);
    std::vector<bool> used(memory.header().pipes);
    for (std::uint32_t number = thread; number < memory.touched_slots().size(); number += threads_) {
        Slot& slot = memory.slots()[number];
        for (Half& half : slot.half) {
            const std::uint32_t pipe = half.pipe.load();
            if (slot.state.load() == kCarried && pipe != 0) {
                used[pipe - 1] = true;
            } else {
                half.pipe.store(0);
            }
        }
    }
    free_pipes_.reserve(memory.header().pipes / threads_ + 1);
    for (std::uint32_t pipe = thread; pipe < used.size(); pipe += threads_) {
        int left = 0;
        if (used[pipe]) {
            continue;
        }
        // A pipe of a connection that has ended may hold its last bytes.
        if (const int fd = memory.pipes()[pipe].read; fd >= 0 && (::ioctl(fd, FIONREAD, &left) != 0 || left > 0)) {
            close_pipe(pipe);
        }
        // Pipes that are made are taken first, from the back.
        free_pipes_.insert(memory.pipes()[pipe].read < 0 ? free_pipes_.begin() : free_pipes_.end(), pipe);
    }
    for (std::uint32_t number = thread; number < memory.touched_slots().size(); number += threads_) {
        if (memory.slots()[number].state.load() == kCarried) {
            take_up(number);
        }
    }
}

void Worker::run() {
    epoll_event events[kEventsAtOnce];
    while (true) {
        const int count = ::epoll_wait(epoll_, events, kEventsAtOnce, ready_.first != 0 ? 0 : -1);
        for (int i = 0; i < count; ++i) {
            if (events[i].data.u64 == kFromParent) {
                std::uint64_t times = 0;
                (void)!::read(memory_.header().to_child[thread_], &times, sizeof times);
                memory_.take_from_parent(thread_, [this](std::uint32_t number) { look_at(number); });
                continue;
            }
            const auto number = static_cast<std::uint32_t>(events[i].data.u64) >> 1;
            const bool app_side = (events[i].data.u64 & 1) != 0;
            const Slot& slot = memory_.slots()[number];
            if (slot.state.load() == kCarried && slot.generation.load() == events[i].data.u64 >> 32 &&
                !check_error(number, events[i].events, app_side)) {
                work(number, concerned(number, events[i].events, app_side));
            }
        }
        // One turn each: what becomes ready meanwhile waits for the next round, after the sockets were asked again.
        std::uint32_t number = 0;
        const std::uint32_t last = ready_.last;
        while (pop_front(ready_, number)) {
            if (memory_.slots()[number].state.load() == kCarried) {
                work(number);
            }
            if (number + 1 == last) {
                break;
            }
        }
    }
}

// A connection that is new here: from the parent, or from the child before us.
void Worker::take_up(std::uint32_t number) {
    Slot& slot = memory_.slots()[number];
    Local& mine = local(number);
    mine.urgent[0] = mine.urgent[1] = false;
    mine.known = true; // its links stay: the connection before may be queued still
    for (int direction = 0; direction < 2; ++direction) {
        const std::uint32_t pipe = slot.half[direction].pipe.load();
        int left = 0;
        if (pipe != 0) {
            (void)::ioctl(memory_.pipes()[pipe - 1].read, FIONREAD, &left);
        }
        mine.in_pipe[direction] = static_cast<std::uint32_t>(left);
    }
    for (const bool app_side : {true, false}) {
        const int fd = app_side ? slot.app : slot.peer;
        epoll_event event{};
        event.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        event.data.u64 = label(number, app_side, slot.generation.load());
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
            (void)end(number, WEFT_RELAY_REASON_RELAY_ERROR, static_cast<std::uint32_t>(errno));
            return;
        }
        if ((slot.flags & (app_side ? WEFT_RELAY_APP_TLS : WEFT_RELAY_PEER_TLS)) != 0) {
            push(fd); // what a killed child has left unpushed
        }
    }
    work(number);
}

// The parent changed something: a new connection, a wish to close one, or the end of a pause.
void Worker::look_at(std::uint32_t number) {
    Slot& slot = memory_.slots()[number];
    if (slot.state.load() != kCarried) {
        return;
    }
    if (slot.close_wanted.load() != 0) {
        (void)end(number, WEFT_RELAY_REASON_REQUESTED, 0);
    } else if (!local(number).known) {
        take_up(number);
    } else {
        work(number);
    }
}

// Edge-triggered errors come once. Both halves may be done with the socket, so nobody else would notice.
bool Worker::check_error(std::uint32_t number, std::uint32_t events, bool app_side) {
    if ((events & EPOLLERR) == 0) {
        return false;
    }
    const Slot& slot = memory_.slots()[number];
    int code = 0;
    socklen_t size = sizeof code;
    (void)::getsockopt(app_side ? slot.app : slot.peer, SOL_SOCKET, SO_ERROR, &code, &size);
    return code != 0 && end_broken(number, app_side, code) == Flow::kEnded;
}

// Which directions an event can move, as bits: a socket is nearly always writable, which means nothing to a direction
// that has nothing to write.
unsigned int Worker::concerned(std::uint32_t number, std::uint32_t events, bool app_side) {
    const unsigned int from = app_side ? 0 : 1;
    const unsigned int to = 1 - from;
    const Half& half = memory_.slots()[number].half[to];
    local(number).urgent[from] = local(number).urgent[from] || (events & EPOLLPRI) != 0;
    const bool readable = (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    const bool writing = local(number).in_pipe[to] > 0 || half.ended.load() != 0;
    return (readable ? 1U << from : 0U) | (writing ? 1U << to : 0U);
}

void Worker::work(std::uint32_t number, unsigned int directions) {
    bool more = false;
    for (int direction = 0; direction < 2; ++direction) {
        const Flow flow = (directions >> direction & 1) != 0 ? move(number, direction) : Flow::kWaits;
        if (flow == Flow::kEnded) {
            return;
        }
        more = more || flow == Flow::kMore;
    }
    const Slot& slot = memory_.slots()[number];
    if (slot.half[0].closed.load() != 0 && slot.half[1].closed.load() != 0) {
        (void)end(number, WEFT_RELAY_REASON_FINISHED, 0);
    } else if (more) {
        push_back(ready_, number);
    }
}

Worker::Flow Worker::end(std::uint32_t number, int reason, std::uint32_t detail) {
    Slot& slot = memory_.slots()[number];
    for (int direction = 0; direction < 2; ++direction) {
        if (const std::uint32_t pipe = slot.half[direction].pipe.load();
            pipe != 0 && local(number).in_pipe[direction] > 0) {
            // Its bytes have nowhere to go, and nobody else must get them.
            close_pipe(pipe - 1);
            local(number).in_pipe[direction] = 0;
        }
        detach(number, direction);
    }
    // The descriptors stay open until the parent has seen the end; others may hold the sockets, so forget them here.
    (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, slot.app, nullptr);
    (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, slot.peer, nullptr);
    local(number).known = false;
    slot.detail.store(detail);
    slot.reason.store(static_cast<std::uint16_t>(reason));
    slot.state.store(kEnded);
    memory_.tell_parent(number);
    return Flow::kEnded;
}

Worker::Flow Worker::end_broken(std::uint32_t number, bool app_side, int code) {
    const auto detail = static_cast<std::uint32_t>(code);
    switch (code) {
    case EBADMSG:
    case EMSGSIZE:
    case EINVAL:
        return end(number, WEFT_RELAY_REASON_BAD_RECORD, detail);
    case EKEYEXPIRED:
        return end(number, WEFT_RELAY_REASON_KEY_UPDATE, detail);
    default:
        return end(number, app_side ? WEFT_RELAY_REASON_APP_RESET : WEFT_RELAY_REASON_PEER_RESET, detail);
    }
}

// --- pipes -----------------------------------------------------------------------------------------------------

// The kernel writes both numbers into the shared memory before they become descriptors, so none is ever lost.
bool Worker::make_pipe(std::uint32_t pipe) {
    Pipe& made = memory_.pipes()[pipe];
    if (::pipe2(&made.read, O_NONBLOCK) != 0) {
        made = {-1, -1};
        return false;
    }
    return true;
}

// The numbers go first: others may get them the moment that they are closed.
void Worker::close_pipe(std::uint32_t pipe) {
    const Pipe old = std::exchange(memory_.pipes()[pipe], Pipe{-1, -1});
    (void)::close(old.read);
    (void)::close(old.write);
}

bool Worker::attach(std::uint32_t number, int direction) {
    auto& attached = memory_.slots()[number].half[direction].pipe;
    if (attached.load() != 0) {
        return true;
    }
    if (!free_pipes_.empty() && (memory_.pipes()[free_pipes_.back()].read >= 0 || make_pipe(free_pipes_.back()))) {
        attached.store(free_pipes_.back() + 1);
        free_pipes_.pop_back();
        return true;
    }
    push_back(waiting_, number);
    return false;
}

void Worker::detach(std::uint32_t number, int direction) {
    auto& attached = memory_.slots()[number].half[direction].pipe;
    const std::uint32_t pipe = attached.load();
    if (pipe == 0) {
        return;
    }
    attached.store(0);
    free_pipes_.push_back(pipe - 1);
    std::uint32_t next = 0;
    while (pop_front(waiting_, next)) {
        if (memory_.slots()[next].state.load() == kCarried) {
            push_back(ready_, next);
            break;
        }
    }
}

void Worker::push_back(Queue& queue, std::uint32_t number) {
    auto& link = local(number).links[queue.link];
    if (link.queued) {
        return;
    }
    link = {0, true};
    if (queue.last != 0) {
        local(queue.last - 1).links[queue.link].next = number + 1;
    } else {
        queue.first = number + 1;
    }
    queue.last = number + 1;
}

bool Worker::pop_front(Queue& queue, std::uint32_t& number) {
    if (queue.first == 0) {
        return false;
    }
    number = queue.first - 1;
    auto& link = local(number).links[queue.link];
    queue.first = link.next;
    if (queue.first == 0) {
        queue.last = 0;
    }
    link = {};
    return true;
}

} // namespace weft::relay
