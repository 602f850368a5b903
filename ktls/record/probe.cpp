// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Moves bytes over loopback connections with made-up keys and looks at what arrives.
#include "weft/ktls/probe.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include <openssl/rand.h>

#include "ktls/record/control_record.hpp"
#include "weft/base/unique_fd.hpp"
#include "weft/ktls/install.hpp"

namespace weft::ktls {
namespace {

// Enough for several records, and not a multiple of anything: a kernel that drops bytes drops 45 of these.
constexpr std::size_t kTransfer = 160000;
constexpr int kPatienceMs = 3000;

struct Pair {
    UniqueFd a;
    UniqueFd b;
};

std::optional<Pair> connected() {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Pair pair{UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), UniqueFd()};
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    auto* address = reinterpret_cast<sockaddr*>(&where);
    if (!listener.valid() || !pair.a.valid()) {
        return std::nullopt;
    }
    if (::bind(listener.get(), address, size) != 0 || ::listen(listener.get(), 1) != 0 ||
        ::getsockname(listener.get(), address, &size) != 0 || ::connect(pair.a.get(), address, size) != 0) {
        return std::nullopt;
    }
    pair.b = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return pair.b.valid() ? std::optional(std::move(pair)) : std::nullopt;
}

TrafficSecret made_up(Cipher cipher) {
    TrafficSecret secret;
    const auto bytes = secret.fill(cipher == Cipher::kAes256Gcm ? 48 : 32);
    // Weak randomness would not matter: these keys protect nothing.
    (void)RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
    return secret;
}

struct Keyed {
    Pair pair;
    Traffic a; ///< as `pair.a` sees it
};

std::optional<Keyed> keyed(Cipher cipher, InstallResult& result) {
    auto pair = connected();
    if (!pair) {
        result = std::unexpected(InstallFailure{InstallError::kOther, errno, true});
        return std::nullopt;
    }
    Keyed made{std::move(*pair), {cipher, {made_up(cipher), 0}, {made_up(cipher), 0}}};
    const Traffic mirrored{cipher, made.a.receive, made.a.send};
    result = install(made.pair.a.get(), made.a);
    if (result) {
        result = install(made.pair.b.get(), mirrored);
    }
    return result ? std::optional(std::move(made)) : std::nullopt;
}

// Sends `sent` on one end and reads it from the other, through a pipe that holds one page only.
bool arrives(int from, int to, const std::vector<std::uint8_t>& sent) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return false;
    }
    const UniqueFd out(ends[0]);
    const UniqueFd in(ends[1]);
    (void)::fcntl(in.get(), F_SETPIPE_SZ, 4096);
    std::vector<std::uint8_t> got(sent.size());
    std::size_t written = 0;
    std::size_t read = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
    while (read < sent.size() && std::chrono::steady_clock::now() < end) {
        bool moved = false;
        if (written < sent.size()) {
            const auto n = ::send(from, sent.data() + written, sent.size() - written, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN) {
                return false;
            }
            written += n > 0 ? static_cast<std::size_t>(n) : 0;
            moved = n > 0;
        }
        // SPLICE_F_NONBLOCK is about the pipe; whether the socket blocks is asked first.
        pollfd readable{to, POLLIN, 0};
        if (::poll(&readable, 1, moved ? 0 : 10) > 0) {
            const auto n = ::splice(to, nullptr, in.get(), nullptr, 65536, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n == 0 || (n < 0 && errno != EAGAIN)) {
                return false;
            }
        }
        ssize_t n = 0;
        while (read < got.size() && (n = ::read(out.get(), got.data() + read, got.size() - read)) > 0) {
            read += static_cast<std::size_t>(n);
        }
    }
    return got == sent && read == sent.size();
}

std::vector<std::uint8_t> numbers(std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>(i % 251 + i / 65521);
    }
    return bytes;
}

bool survives_key_update(Cipher cipher) {
    InstallResult result;
    const auto made = keyed(cipher, result);
    if (!made) {
        return false;
    }
    const int a = made->pair.a.get();
    const int b = made->pair.b.get();
    const auto next = next_secret(cipher, made->a.send.secret);
    if (!next || send_key_update(a, false) != 0 || !rekey_send(a, cipher, *next)) {
        return false;
    }
    pollfd readable{b, POLLIN, 0};
    return ::poll(&readable, 1, kPatienceMs) > 0 && take_control(b).found == Found::kKeyUpdate &&
           rekey_receive(b, cipher, *next) && arrives(a, b, numbers(kTransfer));
}

} // namespace

std::string_view tier_name(Tier tier) {
    return tier == Tier::kRelay ? "relay" : "userspace";
}

Probe probe_kernel() {
    Probe probe;
    for (const auto cipher : preferred_ciphers()) {
        InstallResult result;
        const auto made = keyed(cipher, result);
        if (!made) {
            if (probe.reason.empty()) {
                probe.reason = result.error().error == InstallError::kNoModule
                                   ? std::string("the kernel has no TLS: load the module `tls` (CONFIG_TLS)")
                                   : fmt::format("the kernel refuses TLS: {}", std::strerror(result.error().code));
            }
            continue;
        }
        if (!arrives(made->pair.a.get(), made->pair.b.get(), numbers(kTransfer)) ||
            !arrives(made->pair.b.get(), made->pair.a.get(), numbers(kTransfer))) {
            probe.reason = "the kernel loses bytes of TLS connections when a pipe is nearly full";
            probe.ciphers.clear();
            return probe;
        }
        probe.ciphers.push_back(cipher);
    }
    if (probe.ciphers.empty()) {
        return probe;
    }
    probe.tier = Tier::kRelay;
    probe.full_pipe_safe = true;
    probe.rekey = std::ranges::all_of(probe.ciphers, survives_key_update);
    probe.reason = "a probe transfer through kernel TLS arrived";
    return probe;
}

} // namespace weft::ktls
