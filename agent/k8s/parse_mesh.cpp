// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Weft's own kinds, weft.dev/v1alpha1: MeshTLS and MeshConfig. As with policies, one that is not understood whole is
// refused: a misspelt field would otherwise open what its author meant to close.
#include <fmt/format.h>

#include "agent/k8s/kinds.hpp"

namespace weft::k8s {
namespace {

std::optional<TlsMode> parse_mode(const Field& field) {
    const std::string text = field.one_of({"strict", "permissive", "off"}, "");
    if (text == "strict") {
        return TlsMode::kStrict;
    }
    if (text == "permissive") {
        return TlsMode::kPermissive;
    }
    return text == "off" ? std::optional(TlsMode::kOff) : std::nullopt;
}

} // namespace

MeshTls parse_mesh_tls(const Field& root, Meta meta) {
    MeshTls tls;
    tls.meta = std::move(meta);
    const Field spec = root.at("spec");
    if (!spec.required_map()) {
        return tls;
    }
    spec.only({"selector", "mode", "ports"});
    if (const Field selector = spec.at("selector"); selector.map()) {
        tls.selector = parse_selector(selector);
    }
    const Field mode = spec.at("mode");
    tls.mode = parse_mode(mode);
    const Field ports = spec.at("ports");
    ports.items([&](const Field& item) {
        if (!item.required_map()) {
            return;
        }
        item.only({"port", "mode"});
        const Field port = item.at("port");
        const Field port_mode = item.at("mode");
        const auto number = port.port();
        const auto value = parse_mode(port_mode);
        if (port.missing()) {
            port.fault("required: give the workload's own port as a number");
        } else if (port_mode.missing()) {
            port_mode.fault("required: strict, permissive or off");
        } else if (number && value && !tls.ports.emplace(*number, *value).second) {
            port.fault(fmt::format("{} is listed twice: keep one", *number));
        }
    });
    if (mode.missing() && ports.missing()) {
        spec.fault("says nothing: give mode (strict, permissive or off), ports, or both");
    }
    return tls;
}

MeshConfig parse_mesh_config(const Field& root, Meta meta) {
    MeshConfig config;
    config.meta = std::move(meta);
    if (config.meta.name != "default") {
        const Field metadata = root.at("metadata");
        metadata.at("name").fault("there is one MeshConfig only: call it default");
    }
    const Field spec = root.at("spec");
    if (!spec.required_map()) {
        return config;
    }
    spec.only({"tls"});
    const Field tls = spec.at("tls");
    if (tls.map()) {
        tls.only({"mode"});
        const Field mode = tls.at("mode");
        config.mode = parse_mode(mode);
    }
    return config;
}

} // namespace weft::k8s
