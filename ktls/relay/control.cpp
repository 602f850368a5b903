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
#include <ctime>
#include <memory>

#include "ktls/relay/keeper.hpp"

namespace weft::relay {
namespace {

bool is_stream(int fd, bool tls) {
    int type = 0;
    int protocol = 0;
    socklen_t size = sizeof type;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        ::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 || protocol != IPPROTO_TCP) {
        return false;
    }
    char ulp[16] = {};
    size = sizeof ulp - 1;
    const bool has_tls = ::getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &size) == 0 && std::strcmp(ulp, "tls") == 0;
    return has_tls || !tls;
}

void set_linger(int fd, bool reset_on_close) {
    const linger value{reset_on_close ? 1 : 0, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

} // namespace

void Keeper::accept_client() {
    const int fd = ::accept4(memory_.header().listener, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    for (int& client : memory_.header().clients) {
        if (client < 0) {
            client = fd;
            return;
        }
    }
    (void)::close(fd);
}

void Keeper::drop_client(int client) {
    Header& header = memory_.header();
    (void)::close(header.clients[client]);
    header.clients[client] = -1;
    header.watcher = header.watcher == client ? -1 : header.watcher;
    for (Slot& slot : memory_.touched_slots()) {
        slot.hold_client = slot.hold_client == client ? std::int8_t{-1} : slot.hold_client;
    }
}

bool Keeper::try_send(int client, const void* message, std::size_t size, int fd) {
    iovec vector{const_cast<void*>(message), size};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr whole{};
    whole.msg_iov = &vector;
    whole.msg_iovlen = 1;
    if (fd >= 0) {
        whole.msg_control = control;
        whole.msg_controllen = sizeof control;
        auto* rights = CMSG_FIRSTHDR(&whole);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    return ::sendmsg(memory_.header().clients[client], &whole, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

// A client that asks and does not read is dropped: answers are never kept for it.
void Keeper::send(int client, const void* message, std::size_t size, int fd) {
    if (!try_send(client, message, size, fd)) {
        drop_client(client);
    }
}

void Keeper::answer(int client, std::uint16_t op, std::uint64_t id, std::uint16_t status, int fd) {
    const weft_relay_answer reply{WEFT_RELAY_PROTOCOL, op, status, 0, 0, 0, id};
    send(client, &reply, sizeof reply, fd);
}

void Keeper::serve(int client) {
    Request request{};
    iovec vector[] = {{&request.head, sizeof request.head}, {request.label, sizeof request.label}};
    alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
    msghdr message{};
    message.msg_iov = vector;
    message.msg_iovlen = 2;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const auto size = ::recvmsg(memory_.header().clients[client], &message, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size <= 0) {
        drop_client(client);
        return;
    }
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            request.count = std::min((part->cmsg_len - CMSG_LEN(0)) / sizeof(int), std::size_t{2});
            std::memcpy(request.fds, CMSG_DATA(part), request.count * sizeof(int));
        }
    }
    std::uint16_t status = WEFT_RELAY_BAD_REQUEST;
    bool answered = false;
    const bool whole = static_cast<std::size_t>(size) >= sizeof request.head && (message.msg_flags & MSG_TRUNC) == 0;
    if (whole && (message.msg_flags & MSG_CTRUNC) != 0) {
        status = WEFT_RELAY_NO_ROOM; // no descriptor was left to receive it with
        ++memory_.header().refused;
    } else if (whole && request.head.version == WEFT_RELAY_PROTOCOL) {
        request.label_size = static_cast<std::uint32_t>(static_cast<std::size_t>(size) - sizeof request.head);
        status = carry_out(client, request, answered);
    }
    const bool takes = request.head.op == WEFT_RELAY_HAND_OVER || request.head.op == WEFT_RELAY_KEEP;
    if (status != WEFT_RELAY_OK || !takes) {
        std::for_each_n(request.fds, request.count, [](int fd) { (void)::close(fd); });
    }
    if (!answered) {
        answer(client, request.head.op, request.head.id, status);
    }
}

std::uint16_t Keeper::carry_out(int client, const Request& request, bool& answered) {
    answered = true;
    switch (request.head.op) {
    case WEFT_RELAY_HELLO:
        hello(client);
        return WEFT_RELAY_OK;
    case WEFT_RELAY_LIST:
        list(client, request.head);
        return WEFT_RELAY_OK;
    case WEFT_RELAY_HOLD:
        hold(client, request.head);
        return WEFT_RELAY_OK;
    case WEFT_RELAY_FETCH:
        fetch(client, request.head.id);
        return WEFT_RELAY_OK;
    case WEFT_RELAY_UPGRADE:
        upgrade(client);
        return WEFT_RELAY_OK;
    case WEFT_RELAY_KEEP: {
        const auto status = keep(request);
        answered = status == WEFT_RELAY_OK;
        return status;
    }
    default:
        break;
    }
    answered = false;
    switch (request.head.op) {
    case WEFT_RELAY_HAND_OVER:
        return hand_over(request);
    case WEFT_RELAY_CLOSE:
        return close(request.head.id);
    case WEFT_RELAY_GO_ON:
        return go_on(request.head);
    case WEFT_RELAY_WATCH:
        memory_.header().watcher = client;
        return WEFT_RELAY_OK;
    default:
        return WEFT_RELAY_BAD_REQUEST;
    }
}

std::uint16_t Keeper::close(std::uint64_t id) {
    std::uint32_t number = 0;
    if (find(id, kKept, &number) != nullptr) {
        drop_kept(number);
        return WEFT_RELAY_OK;
    }
    Slot* slot = find(id, kCarried, &number);
    if (slot == nullptr) {
        return WEFT_RELAY_UNKNOWN_ID;
    }
    slot->close_wanted.store(1);
    memory_.tell_child(number);
    return WEFT_RELAY_OK;
}

std::uint16_t Keeper::go_on(const weft_relay_request& request) {
    std::uint32_t number = 0;
    Slot* slot = find(request.id, kCarried, &number);
    if (slot == nullptr) {
        return WEFT_RELAY_UNKNOWN_ID;
    }
    // What was told and is not answered by this stays told: else the same KeyUpdate would be answered twice.
    const unsigned int answered =
        request.flags | ((request.flags & WEFT_RELAY_NEW_RECEIVE_KEY) != 0 ? unsigned{kToldRekey} : 0U);
    slot->told = static_cast<std::uint8_t>(slot->told & ~answered);
    for (unsigned int i = 0; i < 2; ++i) {
        if ((request.flags >> i & 1) != 0) {
            Half& half = slot->half[i];
            half.limit_at.store(slot->key_limit == 0 ? 0 : half.bytes.load() + slot->key_limit);
            half.limit_told.store(0);
        }
    }
    if ((request.flags & WEFT_RELAY_NEW_RECEIVE_KEY) != 0) {
        slot->rekey_wanted.store(0);
    }
    slot->hold_wanted.store(0);
    slot->held.store(0);
    memory_.tell_child(number);
    return WEFT_RELAY_OK;
}

// A free slot, with what the request says written into it. Null: there is none.
Slot* Keeper::take_slot(const Request& request, std::uint32_t* number) {
    Header& header = memory_.header();
    while (lowest_free_ < header.slots && memory_.slots()[lowest_free_].state.load() != kFree) {
        ++lowest_free_;
    }
    if (lowest_free_ == header.slots) {
        ++header.refused;
        return nullptr;
    }
    *number = lowest_free_++;
    header.touched.store(std::max(header.touched.load(), *number + 1));
    Slot& slot = memory_.slots()[*number];
    const std::uint32_t generation = slot.generation.load();
    std::construct_at(&slot); // nothing of the connection before remains
    timespec now{};
    (void)::clock_gettime(CLOCK_BOOTTIME, &now);
    slot.flags = request.head.flags;
    slot.id = request.head.id;
    slot.started_ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    slot.app = request.fds[0];
    slot.peer = -1;
    slot.generation.store(generation + 1);
    slot.hold_client = -1;
    memory_.label(*number).size = request.label_size;
    std::memcpy(memory_.label(*number).bytes, request.label, request.label_size);
    by_id_[slot.id] = *number;
    return &slot;
}

std::uint16_t Keeper::hand_over(const Request& request) {
    if (request.count != 2 || !is_stream(request.fds[0], (request.head.flags & WEFT_RELAY_APP_TLS) != 0) ||
        !is_stream(request.fds[1], (request.head.flags & WEFT_RELAY_PEER_TLS) != 0) || find(request.head.id)) {
        return WEFT_RELAY_BAD_REQUEST;
    }
    std::uint32_t kept = 0;
    const bool was_kept = find(request.head.id, kKept, &kept) != nullptr;
    std::uint32_t number = 0;
    Slot* slot = take_slot(request, &number);
    if (slot == nullptr) {
        return WEFT_RELAY_NO_ROOM;
    }
    slot->peer = request.fds[1];
    slot->key_limit = request.head.key_limit;
    slot->half[0].limit_at.store(request.head.key_limit);
    slot->half[1].limit_at.store(request.head.key_limit);
    for (const int fd : request.fds) {
        (void)::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
        // Should this process die, both ends must see a reset and no clean end. An orderly end takes it back.
        set_linger(fd, true);
        const int on = 1;
        (void)::setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on); // see Worker::pass_mark()
    }
    ++memory_.header().connections;
    ++memory_.header().accepted;
    slot->state.store(kCarried);
    memory_.tell_child(number);
    if (was_kept) {
        drop_kept(kept); // the application's socket, by another descriptor
        by_id_[request.head.id] = number;
    }
    return WEFT_RELAY_OK;
}

std::uint16_t Keeper::keep(const Request& request) {
    if (request.count != 1 || !is_stream(request.fds[0], false) || find(request.head.id)) {
        return WEFT_RELAY_BAD_REQUEST;
    }
    std::uint32_t number = 0;
    if (find(request.head.id, kKept, &number) != nullptr) {
        drop_kept(number);
    }
    Slot* slot = take_slot(request, &number);
    if (slot == nullptr) {
        return WEFT_RELAY_NO_ROOM;
    }
    ++memory_.header().kept;
    slot->state.store(kKept);
    return WEFT_RELAY_OK;
}

void Keeper::drop_kept(std::uint32_t number) {
    Slot& slot = memory_.slots()[number];
    (void)::close(slot.app);
    --memory_.header().kept;
    release(number);
}

void Keeper::release(std::uint32_t number) {
    by_id_.erase(memory_.slots()[number].id);
    lowest_free_ = std::min(lowest_free_, number);
    memory_.slots()[number].state.store(kFree);
}

void Keeper::fetch(int client, std::uint64_t id) {
    const Slot* slot = find(id, kKept);
    answer(client, WEFT_RELAY_FETCH, id, slot == nullptr ? WEFT_RELAY_UNKNOWN_ID : WEFT_RELAY_OK,
           slot == nullptr ? -1 : slot->app);
}

void Keeper::finish(std::uint32_t number) {
    Slot& slot = memory_.slots()[number];
    tell(number, WEFT_RELAY_ENDED, slot.reason.load(), slot.detail.load());
    for (const int fd : {slot.app, slot.peer}) {
        set_linger(fd, slot.reason.load() != WEFT_RELAY_REASON_FINISHED);
        (void)::close(fd);
    }
    if (slot.hold_client >= 0) {
        answer(slot.hold_client, WEFT_RELAY_HOLD, slot.id, WEFT_RELAY_UNKNOWN_ID);
        slot.hold_client = -1;
    }
    --memory_.header().connections;
    release(number);
}

Slot* Keeper::find(std::uint64_t id, SlotState state, std::uint32_t* number) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end() || memory_.slots()[found->second].state.load() != state) {
        return nullptr;
    }
    if (number != nullptr) {
        *number = found->second;
    }
    return &memory_.slots()[found->second];
}

void Keeper::hold(int client, const weft_relay_request& request) {
    std::uint32_t number = 0;
    Slot* slot = find(request.id, kCarried, &number);
    if (slot == nullptr || slot->hold_wanted.load() != 0) {
        return answer(client, WEFT_RELAY_HOLD, request.id, slot == nullptr ? WEFT_RELAY_UNKNOWN_ID : WEFT_RELAY_BUSY);
    }
    slot->hold_client = static_cast<std::int8_t>(client);
    slot->hold_wanted.store(1);
    memory_.tell_child(number);
}

weft_relay_entry Keeper::entry_of(const Slot& slot) {
    weft_relay_entry entry{};
    entry.id = slot.id;
    entry.to_peer = slot.half[0].bytes.load();
    entry.to_app = slot.half[1].bytes.load();
    entry.started_ns = slot.started_ns;
    entry.flags = slot.flags;
    entry.state = slot.state.load() == kKept ? WEFT_RELAY_KEPT : WEFT_RELAY_CARRIED;
    entry.detail = slot.detail.load();
    entry.app_ended = slot.half[0].ended.load();
    entry.peer_ended = slot.half[1].ended.load();
    entry.held = slot.held.load();
    return entry;
}

void Keeper::list(int client, const weft_relay_request& request) {
    static std::uint8_t reply[WEFT_RELAY_ANSWER];
    weft_relay_answer head{WEFT_RELAY_PROTOCOL, WEFT_RELAY_LIST, WEFT_RELAY_OK, 0, 0, 0, request.id};
    std::size_t used = sizeof head;
    const std::uint32_t touched = memory_.header().touched.load();
    std::uint32_t number = request.cursor;
    std::uint32_t last = touched;
    if (request.id != 0) { // one connection only
        const auto found = by_id_.find(request.id);
        number = found == by_id_.end() ? touched : found->second;
        last = std::min(number + 1, touched);
    }
    for (; number < last; ++number) {
        const Slot& slot = memory_.slots()[number];
        if (slot.state.load() != kCarried && slot.state.load() != kKept) {
            continue;
        }
        const Label& label = memory_.label(number);
        auto entry = entry_of(slot);
        entry.label_size = label.size;
        const std::size_t needed = sizeof entry + (std::size_t{label.size} + 7) / 8 * 8;
        if (used + needed > sizeof reply) {
            break;
        }
        std::memcpy(reply + used, &entry, sizeof entry);
        std::memcpy(reply + used + sizeof entry, label.bytes, label.size);
        used += needed;
        ++head.count;
    }
    head.cursor = number < last ? number : 0;
    std::memcpy(reply, &head, sizeof head);
    send(client, reply, used);
}

void Keeper::hello(int client) {
    Header& header = memory_.header();
    weft_relay_info info{};
    info.head.version = WEFT_RELAY_PROTOCOL;
    info.head.op = WEFT_RELAY_HELLO;
    info.parent_pid = static_cast<std::uint32_t>(::getpid());
    info.child_pid = static_cast<std::uint32_t>(child_);
    info.connections = header.connections;
    info.room = header.slots;
    for (const Pipe& pipe : memory_.pipes()) {
        info.pipes_made += pipe.read >= 0 ? 1U : 0U;
    }
    for (const Slot& slot : memory_.touched_slots()) {
        for (const Half& half : slot.half) {
            info.pipes_used += slot.state.load() == kCarried && half.pipe.load() != 0 ? 1U : 0U;
        }
    }
    info.child_deaths = header.child_deaths;
    info.upgrades = header.upgrades;
    info.accepted = header.accepted;
    info.refused = header.refused;
    info.events_lost = header.events_lost;
    info.kept = header.kept;
    std::strncpy(info.program_version, WEFT_VERSION, sizeof info.program_version - 1);
    send(client, &info, sizeof info);
}

// Events wait in the shared memory until somebody watches; the oldest ones go when they are too many.
void Keeper::tell(std::uint32_t number, std::uint16_t state, std::uint16_t reason, std::uint32_t detail) {
    Header& header = memory_.header();
    if (header.event_count == kEvents) {
        header.first_event = (header.first_event + 1) % kEvents;
        --header.event_count;
        ++header.events_lost;
    }
    weft_relay_entry& event = header.events[(header.first_event + header.event_count) % kEvents];
    event = entry_of(memory_.slots()[number]);
    event.state = state;
    event.reason = reason;
    event.detail = detail;
    ++header.event_count;
}

void Keeper::send_events() {
    Header& header = memory_.header();
    while (header.watcher >= 0 && header.event_count > 0) {
        struct {
            weft_relay_answer head;
            weft_relay_entry entry;
        } event{{}, header.events[header.first_event]};
        event.head = {WEFT_RELAY_PROTOCOL, WEFT_RELAY_EVENT, WEFT_RELAY_OK, 1, 0, 0, event.entry.id};
        if (!try_send(header.watcher, &event, sizeof event, -1)) {
            return; // it is asked again when the client has room, and dropped by serve() when it is gone
        }
        header.first_event = (header.first_event + 1) % kEvents;
        --header.event_count;
    }
}

} // namespace weft::relay
