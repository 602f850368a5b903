// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The folder in which a certificate authority lives: one process at a time, owner only. Which file is what:
// docs/ca.md.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::ca {

class StateFolder {
public:
    /// Makes or checks the folder and takes its lock. Errors: EPERM for a wrong owner or mode, EBUSY when another
    /// process has it.
    static Result<StateFolder> open(const std::string& path);

    /// Path of a file in it.
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] const std::string& path() const { return path_; }

    /// A JSON object in it; ENOENT when missing, EINVAL when it is none, EPERM for a wrong owner or mode.
    [[nodiscard]] Result<nlohmann::json> read_json(const std::string& name) const;
    /// Replaces it durably.
    [[nodiscard]] Result<> write_json(const std::string& name, const nlohmann::json& object) const;

private:
    std::string path_;
    UniqueFd lock_;
};

/// A field of a JSON object. Error: EINVAL naming the field.
template <typename T>
Result<T> json_field(const nlohmann::json& object, const char* name) {
    if (const auto at = object.find(name); at != object.end()) {
        // get_to would throw for a wrong type.
        if constexpr (std::is_same_v<T, bool>) {
            if (at->is_boolean()) {
                return at->template get<T>();
            }
        } else if constexpr (std::is_unsigned_v<T>) {
            if (at->is_number_unsigned()) {
                return at->template get<T>();
            }
        } else if constexpr (std::is_integral_v<T>) {
            if (at->is_number_integer()) {
                return at->template get<T>();
            }
        } else {
            if (at->is_string()) {
                return at->template get<T>();
            }
        }
    }
    return invalid("{}: missing or of the wrong type", name);
}

} // namespace weft::ca
