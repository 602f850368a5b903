// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a flow read on one line? Pure text; the command only prints it.
#pragma once

#include <string>
#include <vector>

namespace flow {
class Flow;
class LostEvent;
} // namespace flow

namespace weft::cli {

/// "Nov 21 10:02:11 shop/web-1:41022 → pay/api-0:8080 TCP mtls ALLOWED 3.2ms rule=pay/allow-web egress[0]", in
/// local time; "mtls" when its bytes cross the wire by mutual TLS.
std::string flow_line(const flow::Flow& flow);
/// The same as cells: time, source, destination, protocol, what became of it, detail.
std::vector<std::string> flow_cells(const flow::Flow& flow);
/// "12 flows lost: ...".
std::string lost_line(const flow::LostEvent& lost);

} // namespace weft::cli
