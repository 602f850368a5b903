// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parent's side of the protocol in weft/ktls/relay_protocol.h.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "ktls/message/message.hpp"
#include "ktls/relay/keeper.hpp"

namespace weft::relay {
namespace {

constexpr std::uint16_t kLater = 0xffff; // the answer comes when it is known, or there is none

bool is_tcp(int fd, bool tls) {
    int protocol = 0;
    socklen_t size = sizeof protocol;
    if (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 || protocol != IPPROTO_TCP) {
        return false;
    }
    char ulp[16] = {};
    size = sizeof ulp - 1;
    return !tls || (::getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &size) == 0 && std::strcmp(ulp, "tls") == 0);
}

void set_linger(int fd, bool reset_on_close) {
    const linger value{reset_on_close ? 1 : 0, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

weft_relay_entry entry_of(const Slot& slot) {
    weft_relay_entry entry{};
    entry.id = slot.id;
    entry.to_peer = slot.half[kApp].bytes.load();
    entry.to_app = slot.half[kPeer].bytes.load();
    entry.started_ns = slot.started_ns;
    entry.flags = slot.flags;
    entry.state = slot.state.load() == kKept ? WEFT_RELAY_KEPT : WEFT_RELAY_CARRIED;
    entry.detail = slot.detail.load();
    entry.app_ended = slot.half[kApp].progress.load() != kOpen ? 1 : 0;
    entry.peer_ended = slot.half[kPeer].progress.load() != kOpen ? 1 : 0;
    entry.held = slot.is_held() ? 1 : 0;
    return entry;
}

} // namespace

// By number: what is done, and to what.
const Keeper::Operation Keeper::kOperations[] = {
    {nullptr, 0},
    {&Keeper::hello, 0},
    {&Keeper::take, 0},
    {&Keeper::list, 0},
    {&Keeper::drop, 1U << kCarried | 1U << kKept},
    {&Keeper::watch, 0},
    {&Keeper::upgrade, 0},
    {&Keeper::hold, 1U << kCarried},
    {&Keeper::go_on, 1U << kCarried},
    {&Keeper::take, 0},
    {&Keeper::fetch, 1U << kKept},
};

void Keeper::accept_client() {
    const int fd = ::accept4(shared_.listener, nullptr, nullptr, SOCK_NONBLOCK);
    if (auto* const free = std::ranges::find(shared_.clients, -1); free != std::end(shared_.clients)) {
        *free = fd;
    } else {
        (void)::close(fd);
    }
}

void Keeper::drop_client(int client) {
    (void)::close(std::exchange(shared_.clients[client], -1));
    shared_.watcher = shared_.watcher == client ? -1 : shared_.watcher;
    for (Slot& slot : shared_.used()) {
        slot.hold_client = slot.hold_client == client ? std::int8_t{-1} : slot.hold_client;
    }
}

void Keeper::serve(int client) {
    Request request{};
    iovec parts[] = {{&request.head, sizeof request.head}, {request.label, sizeof request.label}};
    const auto got = ktls::receive_message(shared_.clients[client], parts);
    if (got.size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got.size <= 0) {
        return drop_client(client);
    }
    request.fds = got.fds;
    request.count = got.count;
    std::uint16_t status = WEFT_RELAY_BAD_REQUEST;
    const auto size = static_cast<std::size_t>(got.size);
    if (size >= sizeof request.head && (got.flags & MSG_TRUNC) == 0 && request.head.version == WEFT_RELAY_PROTOCOL &&
        request.head.op > 0 && request.head.op < std::size(kOperations)) {
        const auto [carry_out, needs] = kOperations[request.head.op];
        const auto found = by_id_.find(request.head.id);
        request.slot = found == by_id_.end() ? nullptr : &shared_.slots[found->second];
        request.label_size = static_cast<std::uint32_t>(size - sizeof request.head);
        if ((got.flags & MSG_CTRUNC) != 0) {
            status = WEFT_RELAY_NO_ROOM; // no descriptor was left to receive it with
            ++shared_.refused;
        } else if (needs != 0 && (request.slot == nullptr || (needs >> request.slot->state.load() & 1) == 0)) {
            status = WEFT_RELAY_UNKNOWN_ID;
        } else {
            status = (this->*carry_out)(client, request);
        }
    }
    std::for_each_n(request.fds.begin(), request.count, ::close);
    if (status != kLater) {
        answer(client, request.head.op, request.head.id, status);
    }
}

void Keeper::answer(int client, std::uint16_t op, std::uint64_t id, std::uint16_t status) {
    reply_.head = {WEFT_RELAY_PROTOCOL, op, status, reply_.head.count, reply_.head.cursor, 0, id};
    const iovec part{&reply_, sizeof reply_.head + std::exchange(body_size_, 0)};
    const int fd = std::exchange(reply_fd_, -1);
    // A client that asks and does not read is dropped: answers are never kept for it.
    if (ktls::send_message(shared_.clients[client], {&part, 1}, {&fd, fd >= 0 ? 1U : 0U}) < 0) {
        drop_client(client);
    }
    reply_.head = {};
}

// --- slots -----------------------------------------------------------------------------------------------------

Slot* Keeper::free_slot(std::uint64_t id) {
    while (lowest_free_ < shared_.room && shared_.slots[lowest_free_].state.load() != kFree) {
        ++lowest_free_;
    }
    if (lowest_free_ == shared_.room) {
        return nullptr;
    }
    by_id_[id] = lowest_free_;
    shared_.touched.store(std::max(shared_.touched.load(), lowest_free_ + 1));
    return &shared_.slots[lowest_free_];
}

void Keeper::release(Slot& slot) {
    by_id_.erase(slot.id);
    lowest_free_ = std::min(lowest_free_, shared_.number_of(slot));
    slot.state.store(kFree);
}

// WEFT_RELAY_HAND_OVER of two sockets and WEFT_RELAY_KEEP of one. What is kept under the same id makes room.
std::uint16_t Keeper::take(int, Request& request) {
    const bool carry = request.head.op == WEFT_RELAY_HAND_OVER;
    Slot wanted{};
    wanted.flags = carry ? request.head.flags : 0;
    bool fits = request.count == (carry ? 2U : 1U) && (request.slot == nullptr || request.slot->state.load() == kKept);
    for (std::size_t side = 0; side < request.count; ++side) {
        fits = fits && is_tcp(request.fds[side], wanted.is_tls(static_cast<int>(side)));
    }
    if (!fits) {
        return WEFT_RELAY_BAD_REQUEST;
    }
    if (request.slot != nullptr) {
        (void)::close(request.slot->fds[kApp]); // the application's socket, which comes by another descriptor
    }
    Slot* const slot = request.slot != nullptr ? request.slot : free_slot(request.head.id);
    if (slot == nullptr) {
        ++shared_.refused;
        return WEFT_RELAY_NO_ROOM;
    }
    const std::uint32_t generation = slot->generation.load();
    std::construct_at(slot); // nothing of the connection before remains
    slot->flags = wanted.flags;
    slot->id = request.head.id;
    slot->key_limit = request.head.key_limit;
    slot->started_ns = now_ns();
    std::ranges::copy(request.fds, slot->fds);
    slot->generation.store(generation + 1);
    slot->hold_client = -1;
    Label& label = shared_.label_of(*slot);
    label.size = request.label_size;
    std::memcpy(label.bytes, request.label, request.label_size);
    request.count = 0;
    if (!carry) {
        slot->state.store(kKept);
        return kLater;
    }
    for (const int fd : slot->fds) {
        (void)::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
        // Should this process die, both ends must see a reset and no clean end. An orderly end takes it back.
        set_linger(fd, true);
        const int on = 1;
        (void)::setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on); // see Worker::pass_mark()
    }
    ++shared_.accepted;
    slot->state.store(kCarried);
    shared_.tell_child(*slot);
    return WEFT_RELAY_OK;
}

std::uint16_t Keeper::drop(int, Request& request) {
    Slot& slot = *request.slot;
    if (slot.state.load() == kKept) {
        (void)::close(slot.fds[kApp]);
        release(slot);
    } else {
        slot.close_wanted.store(1);
        shared_.tell_child(slot);
    }
    return WEFT_RELAY_OK;
}

std::uint16_t Keeper::fetch(int, Request& request) {
    reply_fd_ = request.slot->fds[kApp];
    return WEFT_RELAY_OK;
}

std::uint16_t Keeper::hold(int client, Request& request) {
    if (request.slot->hold_wanted.load() != 0) {
        return WEFT_RELAY_BUSY;
    }
    request.slot->hold_client = static_cast<std::int8_t>(client);
    const auto number = static_cast<std::uint8_t>(request.slot->held.load() + 1);
    request.slot->hold_wanted.store(number != 0 ? number : 1);
    shared_.tell_child(*request.slot);
    return kLater;
}

std::uint16_t Keeper::go_on(int, Request& request) {
    Slot& slot = *request.slot;
    // What is not settled by this stays told: else the same KeyUpdate would be answered twice.
    unsigned int settled = request.head.flags;
    if ((settled & WEFT_RELAY_NEW_SEND_KEY) != 0) {
        slot.half[kApp].spent.store(0);
    }
    if ((settled & WEFT_RELAY_NEW_RECEIVE_KEY) != 0) {
        slot.half[kPeer].spent.store(0);
        settled |= kPeerRekeyed;
    }
    slot.told = static_cast<std::uint8_t>(slot.told & ~settled);
    slot.hold_wanted.store(0);
    slot.news.fetch_and(static_cast<std::uint8_t>(~settled));
    shared_.tell_child(slot);
    return WEFT_RELAY_OK;
}

void Keeper::finish(Slot& slot) {
    tell(slot, WEFT_RELAY_ENDED, slot.reason.load(), slot.detail.load());
    for (const int fd : slot.fds) {
        set_linger(fd, slot.reason.load() != WEFT_RELAY_REASON_FINISHED);
        (void)::close(fd);
    }
    if (slot.hold_client >= 0) {
        answer(std::exchange(slot.hold_client, std::int8_t{-1}), WEFT_RELAY_HOLD, slot.id, WEFT_RELAY_UNKNOWN_ID);
    }
    release(slot);
}

// --- what it tells of them -------------------------------------------------------------------------------------

std::uint16_t Keeper::list(int, Request& request) {
    const auto slots = shared_.used();
    std::size_t number = request.head.cursor;
    std::size_t last = slots.size();
    if (request.head.id != 0) { // one connection only
        number = request.slot == nullptr ? last : shared_.number_of(*request.slot);
        last = std::min(number + 1, last);
    }
    for (; number < last; ++number) {
        const Slot& slot = slots[number];
        if (slot.state.load() != kCarried && slot.state.load() != kKept) {
            continue;
        }
        const Label& label = shared_.label_of(slot);
        auto entry = entry_of(slot);
        entry.label_size = label.size;
        const std::size_t needed = sizeof entry + (std::size_t{label.size} + 7) / 8 * 8;
        if (body_size_ + needed > sizeof reply_.body) {
            break;
        }
        std::memcpy(reply_.body + body_size_, &entry, sizeof entry);
        std::memcpy(reply_.body + body_size_ + sizeof entry, label.bytes, label.size);
        body_size_ += needed;
        ++reply_.head.count;
    }
    reply_.head.cursor = number < last ? static_cast<std::uint32_t>(number) : 0;
    return WEFT_RELAY_OK;
}

std::uint16_t Keeper::hello(int, Request&) {
    weft_relay_info info{};
    info.parent_pid = static_cast<std::uint32_t>(::getpid());
    info.child_pid = static_cast<std::uint32_t>(child_);
    info.room = shared_.room;
    info.pipes_made = static_cast<std::uint32_t>(
        std::ranges::count_if(shared_.pipes, [](const Pipe& pipe) { return pipe.read >= 0; }));
    for (const Slot& slot : shared_.used()) {
        info.kept += slot.state.load() == kKept ? 1U : 0U;
        if (const auto state = slot.state.load(); state == kCarried || state == kEnded) {
            ++info.connections;
            info.pipes_used += (slot.half[0].pipe.load() != 0 ? 1U : 0U) + (slot.half[1].pipe.load() != 0 ? 1U : 0U);
        }
    }
    info.child_deaths = shared_.child_deaths;
    info.upgrades = shared_.upgrades;
    info.accepted = shared_.accepted;
    info.refused = shared_.refused;
    info.events_lost = shared_.events_lost;
    std::strncpy(info.program_version, WEFT_VERSION, sizeof info.program_version - 1);
    body_size_ = sizeof info - sizeof info.head;
    std::memcpy(reply_.body, reinterpret_cast<const std::uint8_t*>(&info) + sizeof info.head, body_size_);
    return WEFT_RELAY_OK;
}

std::uint16_t Keeper::watch(int client, Request&) {
    shared_.watcher = client;
    return WEFT_RELAY_OK;
}

// Events wait in the shared memory until somebody watches; the oldest ones go when they are too many.
void Keeper::tell(const Slot& slot, std::uint16_t state, std::uint16_t reason, std::uint32_t detail) {
    if (shared_.event_count == kEvents) {
        shared_.first_event = (shared_.first_event + 1) % kEvents;
        --shared_.event_count;
        ++shared_.events_lost;
    }
    weft_relay_entry& event = shared_.events[(shared_.first_event + shared_.event_count++) % kEvents];
    event = entry_of(slot);
    event.state = state;
    event.reason = reason;
    event.detail = detail;
}

void Keeper::send_events() {
    while (shared_.watcher >= 0 && shared_.event_count > 0) {
        weft_relay_entry& entry = shared_.events[shared_.first_event];
        weft_relay_answer head{WEFT_RELAY_PROTOCOL, WEFT_RELAY_EVENT, WEFT_RELAY_OK, 1, 0, 0, entry.id};
        const iovec parts[] = {{&head, sizeof head}, {&entry, sizeof entry}};
        if (ktls::send_message(shared_.clients[shared_.watcher], parts) < 0) {
            return; // it is asked again when the client has room, and dropped by serve() when it is gone
        }
        shared_.first_event = (shared_.first_event + 1) % kEvents;
        --shared_.event_count;
    }
}

} // namespace weft::relay
