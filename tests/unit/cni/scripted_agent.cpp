// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The test agents.
#include "tests/unit/cni/scripted_agent.hpp"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <utility>

namespace weft::cni::test {

ScriptedAgent::ScriptedAgent(const std::string& path) {
    auto server = enrol::EnrolServer::start({.path = path, .allowed_uid = ::geteuid()}, *this);
    if (!server) {
        throw std::runtime_error(server.error().message());
    }
    server_ = *std::move(server);
}

void ScriptedAgent::handle(enrol::Request request, enrol::Reply reply) {
    enrol::Response response;
    {
        const std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
        response = response_;
    }
    reply(std::move(response));
}

void ScriptedAgent::answer(enrol::Response::Code code, const std::string& message) {
    const std::lock_guard lock(mutex_);
    response_.set_code(code);
    response_.set_message(message);
}

std::vector<enrol::Request> ScriptedAgent::requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
}

RogueAgent::RogueAgent(const std::string& path, std::string bytes, bool keep_open)
    : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 1) != 0) {
        throw std::runtime_error("cannot listen on " + path);
    }
    thread_ = std::thread([this, bytes = std::move(bytes), keep_open] {
        UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer.valid()) {
            return; // shut down before anybody came
        }
        (void)!::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (keep_open) {
            kept_ = std::move(peer);
        }
    });
}

RogueAgent::~RogueAgent() {
    (void)::shutdown(listener_.get(), SHUT_RDWR); // wakes accept
    thread_.join();
}

Folder::Folder() : path_(std::filesystem::temp_directory_path() / "weft-cni-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
        throw std::runtime_error("mkdtemp failed");
    }
}

Folder::~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

} // namespace weft::cni::test
