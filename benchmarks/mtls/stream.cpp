// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "benchmarks/mtls/stream.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <fstream>

#include "weft/ktls/handshake.hpp"
#include "weft/ktls/install.hpp"

namespace weft::bench {
namespace {

Result<std::string> text_of(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
        return system_failure("reading {}", path);
    }
    return std::string(std::istreambuf_iterator<char>(file), {});
}

Result<> finish(Result<ktls::Handshake> handshake, int fd) {
    if (!handshake) {
        return std::unexpected(handshake.error());
    }
    for (;;) {
        switch (handshake->step()) {
        case ktls::Step::kDone:
            if (auto installed = ktls::install(fd, handshake->established().traffic); !installed) {
                return failure(installed.error().code, "installing keys: {}",
                               ktls::install_error_name(installed.error().error));
            }
            return {};
        case ktls::Step::kFailed:
            return failure(EPROTO, "handshake: {}", handshake->failure().detail);
        case ktls::Step::kWantRead:
        case ktls::Step::kWantWrite:
            // The socket blocks, but its handshake never does: it waits here.
            pollfd event{fd, static_cast<short>(POLLIN), 0};
            (void)::poll(&event, 1, 10'000);
        }
    }
}

Result<> anybody(const ktls::Peer&) {
    return {};
}

} // namespace

Result<std::shared_ptr<const ktls::Context>> context_of(const std::string& folder, const std::string& side) {
    WEFT_ASSIGN(const auto key, text_of(folder + "/" + side + ".key"));
    WEFT_ASSIGN(const auto chain, text_of(folder + "/" + side + ".pem"));
    WEFT_ASSIGN(const auto root, text_of(folder + "/root.pem"));
    ktls::Credentials credentials;
    WEFT_ASSIGN(credentials.key, ktls::key_from_pem(key));
    WEFT_ASSIGN(credentials.chain, ktls::certificates_from_pem(chain));
    WEFT_ASSIGN(credentials.roots["cluster.local"], ktls::certificates_from_pem(root));
    return ktls::Context::create(credentials);
}

Result<UniqueFd> dial(const std::string& address, const std::string& port,
                      const std::shared_ptr<const ktls::Context>& context) {
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(address.c_str(), port.c_str(), &hints, &found); code != 0) {
        return failure(EINVAL, "{} port {}: {}", address, port, ::gai_strerror(code));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
    UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int one = 1;
    (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0) {
        return system_failure("connecting to {} port {}", address, port);
    }
    if (context != nullptr) {
        ktls::ClientOptions options;
        options.authorise = anybody;
        options.resumption_key = address;
        WEFT_TRY(finish(ktls::Handshake::client(context, fd.get(), std::move(options)), fd.get()));
    }
    return fd;
}

Result<> accept_tls(int fd, const std::shared_ptr<const ktls::Context>& context) {
    return finish(ktls::Handshake::server(context, fd, {anybody}), fd);
}

bool send_all(int fd, const char* data, std::size_t size) {
    while (size > 0) {
        const ssize_t sent = ::send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        data += sent;
        size -= static_cast<std::size_t>(sent);
    }
    return true;
}

bool receive_all(int fd, char* data, std::size_t size) {
    while (size > 0) {
        const ssize_t got = ::recv(fd, data, size, 0);
        if (got <= 0) {
            return false;
        }
        data += got;
        size -= static_cast<std::size_t>(got);
    }
    return true;
}

} // namespace weft::bench
