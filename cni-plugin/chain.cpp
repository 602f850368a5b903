// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// prevResult, as CNI 0.4.0 and later shape it.
#include "cni-plugin/chain.hpp"

#include <optional>

#include "weft/base/ip.hpp"

namespace weft::cni {
namespace {

constexpr std::size_t kMaxInterfaces = 256;
constexpr std::size_t kMaxAddresses = 64;

std::unexpected<CniError> bad(std::string_view field, std::string_view fault) {
    return fail(Code::kInvalidConfig, fmt::format("prevResult.{}: {}", field, fault),
                "the plugin before weft-cni in the list wrote it");
}

const Json* member(const Json& object, const char* key) {
    const auto at = object.find(key);
    return at == object.end() || at->is_null() ? nullptr : &*at;
}

/// For each interface: is it inside the container?
CniResult<std::vector<bool>> sandboxed(const Json& prev_result) {
    std::vector<bool> out;
    const Json* interfaces = member(prev_result, "interfaces");
    if (interfaces == nullptr) {
        return out;
    }
    if (!interfaces->is_array() || interfaces->size() > kMaxInterfaces) {
        return bad("interfaces", fmt::format("must be an array of at most {} objects", kMaxInterfaces));
    }
    for (const Json& item : *interfaces) {
        const std::string field = fmt::format("interfaces[{}]", out.size());
        if (!item.is_object()) {
            return bad(field, "must be an object");
        }
        const Json* name = member(item, "name");
        if (name == nullptr || !name->is_string()) {
            return bad(field + ".name", "must be a string");
        }
        const Json* sandbox = member(item, "sandbox");
        if (sandbox != nullptr && !sandbox->is_string()) {
            return bad(field + ".sandbox", "must be a string");
        }
        out.push_back(sandbox != nullptr && !sandbox->get_ref<const std::string&>().empty());
    }
    return out;
}

CniResult<std::string> address_of(const Json& item, const std::string& field) {
    const Json* address = member(item, "address");
    if (address == nullptr || !address->is_string()) {
        return bad(field + ".address", "must be a string");
    }
    const auto& text = address->get_ref<const std::string&>();
    const auto slash = text.find('/');
    const auto ip = Ip::parse(text.substr(0, slash));
    if (!ip || slash == std::string::npos || !Cidr::parse(text)) {
        return bad(field + ".address", fmt::format("{} is no address with prefix length", excerpt(*address)));
    }
    if (ip->is_unspecified() || ip->is_loopback()) {
        return bad(field + ".address", fmt::format("{} cannot be a pod's address", excerpt(*address)));
    }
    return ip->to_string();
}

} // namespace

CniResult<std::vector<std::string>> container_addresses(const Json& prev_result) {
    if (prev_result.is_null()) {
        return fail(Code::kInvalidConfig, "prevResult: missing; weft-cni must be chained after an interface plugin",
                    "put weft-cni after ptp, bridge or your network's own plugin in the \"plugins\" list");
    }
    if (const Json* version = member(prev_result, "cniVersion"); version != nullptr && !version->is_string()) {
        return bad("cniVersion", "must be a string");
    }
    const auto inside = sandboxed(prev_result);
    if (!inside) {
        return std::unexpected(inside.error());
    }
    const Json* ips = member(prev_result, "ips");
    if (ips == nullptr) {
        return bad("ips", "missing; the pod has no address");
    }
    if (!ips->is_array() || ips->size() > kMaxAddresses) {
        return bad("ips", fmt::format("must be an array of at most {} objects", kMaxAddresses));
    }
    std::vector<std::string> out;
    for (std::size_t i = 0; i < ips->size(); ++i) {
        const std::string field = fmt::format("ips[{}]", i);
        const Json& item = (*ips)[i];
        if (!item.is_object()) {
            return bad(field, "must be an object");
        }
        auto address = address_of(item, field);
        if (!address) {
            return std::unexpected(std::move(address).error());
        }
        const Json* index = member(item, "interface");
        if (index != nullptr && (!index->is_number_integer() || *index < 0 || *index >= inside->size())) {
            return bad(field + ".interface",
                       fmt::format("must be an index into interfaces, of which there are {}", inside->size()));
        }
        if (index == nullptr || (*inside)[index->get<std::size_t>()]) {
            out.push_back(*std::move(address));
        }
    }
    if (out.empty()) {
        return bad("ips", "no address belongs to an interface in the container");
    }
    return out;
}

} // namespace weft::cni
