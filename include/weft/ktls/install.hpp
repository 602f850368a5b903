// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Gives a socket's records to the kernel: TCP_ULP early, then the keys of both directions. Works on descriptors that it
// does not own. Errors are typed, as some of them mean "go on in user space" and others "the connection is lost".
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "weft/ktls/traffic.hpp"

namespace weft::ktls {

/// Why the kernel did not take a connection.
enum class InstallError : std::uint8_t {
    kNoModule, ///< the kernel has no TLS, or the module is not loaded (ENOENT)
    kNotEstablished, ///< the peer has closed already, or the socket was never connected (ENOTCONN)
    kInSockmap, ///< the socket is in somebody's sockmap: TLS and sockmap exclude each other (EINVAL)
    kUnsupportedCipher, ///< this kernel has TLS, but not this cipher
    kInstalled, ///< there are keys already, and the kernel cannot change them (EBUSY)
    kOther, ///< see `code`
};

/// "in-sockmap": the label of the counter.
std::string_view install_error_name(InstallError error);

struct InstallFailure {
    InstallError error = InstallError::kOther;
    int code = 0; ///< errno
    /// The socket still carries plain TCP, so that OpenSSL can go on with it. False: one direction has keys; only a
    /// reset is left.
    bool untouched = true;
};

using InstallResult = std::expected<void, InstallFailure>;

/// Sets TCP_ULP. Do this right after connect or accept: once the peer has sent FIN the kernel refuses. The socket
/// carries plain TCP until install(). Setting it twice is fine.
InstallResult prepare(int fd);
/// Keys and record numbers of both directions; calls prepare() itself when that was not done.
InstallResult install(int fd, const Traffic& traffic);
/// Replaces the key of one direction after a KeyUpdate, on kernels that can; kInstalled on others.
InstallResult rekey_send(int fd, Cipher cipher, const TrafficSecret& secret);
/// The same for what comes in; the kernel holds back records of the new key until then.
InstallResult rekey_receive(int fd, Cipher cipher, const TrafficSecret& secret);

} // namespace weft::ktls
