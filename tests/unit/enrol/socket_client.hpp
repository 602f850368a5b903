// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A client of the enrolment socket for tests: sends any bytes, well formed or not, and reads what comes back.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "enrol.pb.h"
#include "weft/base/unique_fd.hpp"

namespace weft::enrol::test {

/// A folder of its own, removed at the end.
class Folder {
public:
    Folder();
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string path(std::string_view name = "") const;

private:
    std::filesystem::path path_;
};

class Client {
public:
    /// Connects; connected() tells whether it worked.
    explicit Client(const std::string& path);
    [[nodiscard]] bool connected() const { return fd_.valid(); }
    /// Sends as much as the other end takes. False when it closed before taking all.
    bool send(std::string_view bytes) const;
    /// Everything until the other end closes, at most `limit_ms`; nullopt when it did not close in time.
    [[nodiscard]] std::optional<std::string> read_to_end(int limit_ms = 20000) const;
    /// The answer in the one frame until the other end closes; nullopt when there is none.
    [[nodiscard]] std::optional<Response> response(int limit_ms = 20000) const;

private:
    UniqueFd fd_;
};

/// A request in its frame.
std::string framed(const Request& request);

} // namespace weft::enrol::test
