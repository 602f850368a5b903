// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which texts Kubernetes accepts as names, label keys, label values and port names. Each function answers with what is
// wrong, ready to be shown after the field's path; nothing when the text is good.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weft::k8s {

using NameFault = std::optional<std::string>;

/// RFC 1123 label: namespaces, containers, Service port names.
NameFault dns_label_fault(std::string_view text);
/// RFC 1035 label: Services.
NameFault service_name_fault(std::string_view text);
/// RFC 1123 subdomain: most object names.
NameFault dns_subdomain_fault(std::string_view text);
/// Key of a label or annotation: [prefix/]name.
NameFault label_key_fault(std::string_view text);
NameFault label_value_fault(std::string_view text);
/// IANA service name: container ports and references to them.
NameFault port_name_fault(std::string_view text);

} // namespace weft::k8s
