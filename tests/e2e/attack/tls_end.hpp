// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One end of a TLS connection that keeps no rule but those it is told: any certificate or none, any version, whatever
// bytes. What the other end answers is told in words.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ca/pki/certificate.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::e2e {

/// A key and its chain, leaf first.
struct Material {
    pki::OsslPtr<EVP_PKEY> key;
    std::vector<pki::OsslPtr<X509>> chain;
};

/// How this end behaves.
struct Manners {
    const Material* own = nullptr; ///< none: no certificate is shown
    int version = TLS1_3_VERSION;  ///< the only one that is offered
    std::string alpn = "weft/1";   ///< empty: none
};

class TlsEnd {
public:
    enum class Role { kClient, kServer };
    TlsEnd(Role role, UniqueFd fd, const Manners& manners);

    /// Whether this end thinks that the handshake is done. In TLS 1.3 a client thinks so before the server has judged
    /// it: receive() tells.
    bool handshake();
    /// One piece of data; empty when the connection is over, and then ending() says how.
    std::string receive();
    bool send(std::string_view data);
    /// close_notify.
    void say_goodbye();
    /// "alert ...", "reset", "eof", "timeout", or "" while all is well.
    [[nodiscard]] const std::string& ending() const { return ending_; }
    /// Every byte that was sent so far, as it was on the wire.
    [[nodiscard]] const std::string& sent() const { return sent_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

private:
    template <typename Call>
    int drive(const Call& call);
    bool flush();
    bool fill();

    UniqueFd fd_;
    pki::OsslPtr<SSL_CTX> context_;
    pki::OsslPtr<SSL> ssl_;
    BIO* in_ = nullptr; ///< belongs to ssl_
    BIO* out_ = nullptr; ///< belongs to ssl_
    std::string sent_;
    std::string ending_;
};

/// Sends all of it; false when the connection broke.
bool send_all(int fd, std::string_view bytes);
/// Reads until the end, and says how it came: "eof", "reset" or "timeout".
std::string read_to_end(int fd);
/// Reading and writing give up after so long.
void limit_waiting(int fd, std::chrono::seconds most);

} // namespace weft::e2e
