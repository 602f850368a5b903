// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// VERSION: the only verb that must answer whatever version it is asked in.
#include "cni-plugin/verbs.hpp"

namespace weft::cni {

Json version(const Json& input) {
    const auto asked = input.find("cniVersion");
    Json out;
    out["cniVersion"] =
        asked != input.end() && asked->is_string() ? asked->get<std::string>() : std::string(kVersions.back());
    out["supportedVersions"] = kVersions;
    return out;
}

} // namespace weft::cni
