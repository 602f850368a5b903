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
    weft_relay_request request{};
    iovec vector{&request, sizeof request};
    alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
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
    int fds[4] = {-1, -1, -1, -1};
    std::size_t count = 0;
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            count = std::min((part->cmsg_len - CMSG_LEN(0)) / sizeof(int), std::size_t{4});
            std::memcpy(fds, CMSG_DATA(part), count * sizeof(int));
        }
    }
    std::uint16_t status = WEFT_RELAY_BAD_REQUEST;
    if ((message.msg_flags & MSG_CTRUNC) != 0 && size == sizeof request) {
        status = WEFT_RELAY_NO_ROOM; // no descriptor was left to receive it with
        ++memory_.header().refused;
    } else if (size == sizeof request && request.version == WEFT_RELAY_PROTOCOL) {
        switch (request.op) {
        case WEFT_RELAY_HELLO:
            return hello(client);
        case WEFT_RELAY_HAND_OVER:
            status = count == 2 ? hand_over(request, fds[0], fds[1]) : std::uint16_t{WEFT_RELAY_BAD_REQUEST};
            break;
        case WEFT_RELAY_LIST:
            return list(client, request);
        case WEFT_RELAY_CLOSE: {
            std::uint32_t number = 0;
            Slot* slot = find(request.id, &number);
            status = slot == nullptr ? WEFT_RELAY_UNKNOWN_ID : WEFT_RELAY_OK;
            if (slot != nullptr) {
                slot->close_wanted.store(1);
                memory_.tell_child(number);
            }
            break;
        }
        case WEFT_RELAY_WATCH:
            memory_.header().watcher = client;
            status = WEFT_RELAY_OK;
            break;
        case WEFT_RELAY_HOLD:
            return hold(client, request);
        case WEFT_RELAY_GO_ON: {
            std::uint32_t number = 0;
            Slot* slot = find(request.id, &number);
            status = slot == nullptr ? WEFT_RELAY_UNKNOWN_ID : WEFT_RELAY_OK;
            if (slot != nullptr) {
                slot->told = 0;
                for (Half& half : slot->half) {
                    half.limit_at.store(slot->key_limit == 0 ? 0 : half.bytes.load() + slot->key_limit);
                    half.limit_told.store(0);
                }
                slot->rekey_wanted.store(0);
                slot->hold_wanted.store(0);
                slot->held.store(0);
                memory_.tell_child(number);
            }
            break;
        }
        case WEFT_RELAY_UPGRADE:
            return upgrade(client);
        default:
            break;
        }
    }
    if (status != WEFT_RELAY_OK) {
        for (std::size_t i = 0; i < count; ++i) {
            (void)::close(fds[i]);
        }
    }
    answer(client, request.op, request.id, status);
}

std::uint16_t Keeper::hand_over(const weft_relay_request& request, int app, int peer) {
    if (!is_stream(app, (request.flags & WEFT_RELAY_APP_TLS) != 0) ||
        !is_stream(peer, (request.flags & WEFT_RELAY_PEER_TLS) != 0)) {
        return WEFT_RELAY_BAD_REQUEST;
    }
    Header& header = memory_.header();
    for (std::uint32_t number = lowest_free_; number < header.slots; ++number) {
        Slot& slot = memory_.slots()[number];
        if (slot.state.load() != kFree) {
            continue;
        }
        lowest_free_ = number + 1;
        header.touched.store(std::max(header.touched.load(), number + 1));
        const std::uint32_t generation = slot.generation.load();
        std::construct_at(&slot); // nothing of the connection before remains
        timespec now{};
        (void)::clock_gettime(CLOCK_BOOTTIME, &now);
        slot.flags = request.flags;
        slot.id = request.id;
        slot.key_limit = request.key_limit;
        slot.started_ns =
            static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
        slot.app = app;
        slot.peer = peer;
        slot.generation.store(generation + 1);
        slot.hold_client = -1;
        slot.half[0].limit_at.store(request.key_limit);
        slot.half[1].limit_at.store(request.key_limit);
        for (const int fd : {app, peer}) {
            (void)::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
            // Should this process die, both ends must see a reset and no clean end. An orderly end takes it back.
            set_linger(fd, true);
        }
        ++header.connections;
        ++header.accepted;
        slot.state.store(kCarried);
        memory_.tell_child(number);
        return WEFT_RELAY_OK;
    }
    ++header.refused;
    return WEFT_RELAY_NO_ROOM;
}

void Keeper::finish(std::uint32_t number) {
    Slot& slot = memory_.slots()[number];
    tell(number, WEFT_RELAY_ENDED, slot.reason.load());
    for (const int fd : {slot.app, slot.peer}) {
        set_linger(fd, slot.reason.load() != WEFT_RELAY_REASON_FINISHED);
        (void)::close(fd);
    }
    if (slot.hold_client >= 0) {
        answer(slot.hold_client, WEFT_RELAY_HOLD, slot.id, WEFT_RELAY_UNKNOWN_ID);
        slot.hold_client = -1;
    }
    --memory_.header().connections;
    lowest_free_ = std::min(lowest_free_, number);
    slot.state.store(kFree);
}

Slot* Keeper::find(std::uint64_t id, std::uint32_t* number) {
    for (std::uint32_t i = 0; i < memory_.header().touched.load(); ++i) {
        if (Slot& slot = memory_.slots()[i]; slot.id == id && slot.state.load() == kCarried) {
            if (number != nullptr) {
                *number = i;
            }
            return &slot;
        }
    }
    return nullptr;
}

void Keeper::hold(int client, const weft_relay_request& request) {
    std::uint32_t number = 0;
    Slot* slot = find(request.id, &number);
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
    entry.state = WEFT_RELAY_CARRIED;
    entry.detail = slot.detail.load();
    entry.app_ended = slot.half[0].ended.load();
    entry.peer_ended = slot.half[1].ended.load();
    entry.held = slot.held.load();
    return entry;
}

void Keeper::list(int client, const weft_relay_request& request) {
    weft_relay_entries reply{};
    reply.head = {WEFT_RELAY_PROTOCOL, WEFT_RELAY_LIST, WEFT_RELAY_OK, 0, 0, 0, request.id};
    std::uint32_t number = request.cursor;
    for (; number < memory_.header().touched.load() && reply.head.count < WEFT_RELAY_ENTRIES; ++number) {
        const Slot& slot = memory_.slots()[number];
        if (slot.state.load() == kCarried && (request.id == 0 || request.id == slot.id)) {
            reply.entries[reply.head.count++] = entry_of(slot);
        }
    }
    reply.head.cursor = number < memory_.header().touched.load() ? number : 0;
    send(client, &reply, sizeof reply.head + reply.head.count * sizeof(weft_relay_entry));
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
    std::strncpy(info.program_version, WEFT_VERSION, sizeof info.program_version - 1);
    send(client, &info, sizeof info);
}

// Events wait in the shared memory until somebody watches; the oldest ones go when they are too many.
void Keeper::tell(std::uint32_t number, std::uint16_t state, std::uint16_t reason) {
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
