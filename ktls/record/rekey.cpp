// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// KeyUpdate, and the next secret on both sides of it.
#include "weft/ktls/rekey.hpp"

#include <cerrno>
#include <cstring>

#include "ktls/record/control_record.hpp"
#include "weft/ktls/install.hpp"

namespace weft::ktls {

Result<> update_send_key(int fd, Traffic& traffic, bool request) {
    WEFT_ASSIGN(const auto next, next_secret(traffic.cipher, traffic.send.secret));
    if (const int code = send_key_update(fd, request); code != 0) {
        return failure(code, "KeyUpdate: {}", std::strerror(code));
    }
    if (const auto result = rekey_send(fd, traffic.cipher, next); !result) {
        return failure(result.error().code, "new sending key: {}", install_error_name(result.error().error));
    }
    traffic.send = {next, 0};
    return {};
}

Result<> update_receive_key(int fd, Traffic& traffic) {
    WEFT_ASSIGN(const auto next, next_secret(traffic.cipher, traffic.receive.secret));
    if (const auto result = rekey_receive(fd, traffic.cipher, next); !result) {
        return failure(result.error().code, "new receiving key: {}", install_error_name(result.error().error));
    }
    traffic.receive = {next, 0};
    return {};
}

} // namespace weft::ktls
