// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Lock and JSON files of the authority's folder.
#include "agent/ca/state_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include "agent/ca/pki/durable_file.hpp"

namespace weft::ca {
namespace {

constexpr std::size_t kMostJson = std::size_t{64} << 20;

} // namespace

Result<StateFolder> StateFolder::open(const std::string& path) {
    WEFT_TRY(pki::make_private_folder(path));
    StateFolder folder;
    folder.path_ = path;
    const auto lock = folder.file("lock");
    folder.lock_.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!folder.lock_.valid()) {
        return system_failure("open {}", lock);
    }
    if (::flock(folder.lock_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return failure(EBUSY, "{} is in use by another weft-ca", path);
        }
        return system_failure("lock {}", lock);
    }
    return folder;
}

Result<nlohmann::json> StateFolder::read_json(const std::string& name) const {
    WEFT_ASSIGN(const auto text, pki::read_private(file(name), pki::Access::kOwner, kMostJson));
    auto object = nlohmann::json::parse(text, nullptr, false);
    if (!object.is_object()) {
        return invalid("{} is no JSON object: restore it from a backup", file(name));
    }
    return object;
}

Result<> StateFolder::write_json(const std::string& name, const nlohmann::json& object) const {
    return pki::write_durable(file(name), object.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

} // namespace weft::ca
