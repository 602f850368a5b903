// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// JSON lines over a unix stream socket.
#include "tools/lab/protocol.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace weft::lab {
namespace {

Result<sockaddr_un> socket_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return invalid("socket path {} is too long", path);
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

Result<> send_line(int fd, const std::string& text) {
    std::string_view rest = text;
    while (!rest.empty()) {
        const auto sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            pollfd writable{fd, POLLOUT, 0};
            if (::poll(&writable, 1, 2000) > 0) {
                continue;
            }
        }
        if (sent < 0) {
            return system_failure("cannot send to the other end of the lab's socket");
        }
        rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
}

Result<UniqueFd> dial(const Names& names) {
    WEFT_ASSIGN(const auto address, socket_address(names.socket()));
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno == EACCES || errno == EPERM) {
            return failure(EACCES, "lab '{}' belongs to another user: use sudo", names.lab());
        }
        return failure(
            ENOENT,
            "lab '{}' does not run (`weft lab list` shows those that do): start it with `weft lab up DIR --name {}`",
            names.lab(), names.lab());
    }
    return fd;
}

} // namespace

Result<Json> ask(const Names& names, const Json& request) {
    WEFT_ASSIGN(const auto fd, dial(names));
    WEFT_TRY(send_line(fd.get(), request.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"));
    std::string line;
    std::array<char, 65536> block{};
    while (!line.ends_with('\n')) {
        const auto got = ::recv(fd.get(), block.data(), block.size(), 0);
        if (got <= 0) {
            return failure(EPIPE,
                           "the supervisor of lab '{}' went away: see {}, and clean up with `weft lab down --name {}`",
                           names.lab(), names.supervisor_log(), names.lab());
        }
        line.append(block.data(), static_cast<std::size_t>(got));
    }
    auto answer = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!answer.is_object() || !answer.contains("ok")) {
        return failure(EPROTO, "the supervisor of lab '{}' answered with something else: is it of another version?",
                       names.lab());
    }
    if (!answer["ok"].get<bool>()) {
        return failure(answer.value("code", EIO), "{}", answer.value("error", "unknown failure"));
    }
    return answer;
}

bool supervisor_alive(const Names& names) {
    return dial(names).has_value();
}

Result<std::unique_ptr<CommandServer>> CommandServer::listen(Loop& loop, const std::string& path, Handle handle) {
    WEFT_ASSIGN(const auto address, socket_address(path));
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)::unlink(path.c_str()); // left by a killed supervisor; the caller made sure that none answers
    const mode_t before = ::umask(0077);
    const bool bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::umask(before);
    if (!bound || ::listen(fd.get(), 64) != 0) {
        return system_failure("cannot listen on {}", path);
    }
    return std::unique_ptr<CommandServer>(new CommandServer(loop, std::move(fd), std::move(handle)));
}

CommandServer::CommandServer(Loop& loop, UniqueFd socket, Handle handle)
    : loop_(loop), socket_(std::move(socket)), handle_(std::move(handle)) {
    loop_.watch(socket_.get(), [this] { accept_one(); });
}

CommandServer::~CommandServer() {
    loop_.unwatch(socket_.get());
    for (const auto& [fd, client] : clients_) {
        loop_.unwatch(fd);
    }
}

void CommandServer::accept_one() {
    UniqueFd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
        return;
    }
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        (peer.uid != 0 && peer.uid != ::getuid())) {
        return; // closes: nobody else may run commands in pods
    }
    const int number = fd.get();
    clients_[number] = std::make_shared<Client>(Client{std::move(fd), {}});
    loop_.watch(number, [this, number] { receive(number); });
}

void CommandServer::receive(int fd) {
    const auto client = clients_.at(fd);
    std::array<char, 65536> block{};
    const auto got = ::recv(fd, block.data(), block.size(), 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        loop_.unwatch(fd);
        clients_.erase(fd);
        return;
    }
    client->received.append(block.data(), static_cast<std::size_t>(got));
    const auto end = client->received.find('\n');
    if (end == std::string::npos) {
        return;
    }
    loop_.unwatch(fd); // one request a connection
    const auto request = Json::parse(client->received.substr(0, end), nullptr, /*allow_exceptions=*/false);
    if (!request.is_object()) {
        reply(fd, client, invalid("the request is not a JSON object"));
        return;
    }
    handle_(request, [this, fd, client](const Result<Json>& answer) { reply(fd, client, answer); });
}

void CommandServer::reply(int fd, const std::shared_ptr<Client>& client, const Result<Json>& answer) {
    Json line = answer ? *answer : Json{{"error", answer.error().message()}, {"code", answer.error().code()}};
    line["ok"] = answer.has_value();
    // Invalid UTF-8 (a file name, a program's message) is replaced: an answer always leaves.
    (void)send_line(fd,
                    line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"); // a caller who left needs none
    if (const auto found = clients_.find(fd); found != clients_.end() && found->second == client) {
        clients_.erase(found);
    }
}

} // namespace weft::lab
