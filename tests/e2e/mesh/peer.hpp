// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The programs that run inside pods (and, as the watcher, on the link between nodes). They are this test program
// itself, started as `PROGRAM peer VERB ...`: one binary, quick to start where every instruction is emulated.
#pragma once

#include <string>
#include <vector>

namespace weft::e2e::peer {

inline constexpr int kPort = 7000;       ///< the client speaks first: a line "WORD [ARGUMENT]"
inline constexpr int kBannerPort = 7001; ///< the server speaks first
inline constexpr const char* kBanner = "220 the server speaks first\n";
inline constexpr const char* kMark = "WEFT-PLAINTEXT-MARK.";

/// serve: answers on both ports, of IPv4 and IPv6, until it is killed.
int serve();
/// torture ADDRESS BYTES CONNECTIONS: every way in which a connection can be used and end, one line "NAME ok" or
/// "NAME failed: why" for each.
int torture(const std::vector<std::string>& arguments);
/// echo ADDRESS FILE: sends patterned bytes and checks what comes back, until FILE.stop exists; FILE holds how many
/// came back so far. Ends with "ok BYTES" or "failed: why".
int echo(const std::vector<std::string>& arguments);
/// requests ADDRESS FILE: one short connection after the other until FILE.stop exists; FILE holds how many succeeded.
/// Ends with "N ok, M failed" and the first failure.
int requests(const std::vector<std::string>& arguments);
/// mark ADDRESS BYTES: sends so many bytes of nothing but the mark. Ends with "ok BYTES".
int mark(const std::vector<std::string>& arguments);
/// watch INTERFACE FILE: captures until FILE.stop exists, having made FILE when it sees packets. Ends with one line of
/// JSON: packets, bytes, marked, records, dropped, and the pairs of ends ("10.0.0.1 > 10.0.0.2:80").
int watch(const std::vector<std::string>& arguments);

/// The `peer` verbs. Exit code.
int run(const std::vector<std::string>& arguments);

/// Has somebody asked to stop? Looks for FILE.stop.
bool stopped(const std::string& file);
/// Replaces FILE's text in one step.
void tell(const std::string& file, const std::string& text);

} // namespace weft::e2e::peer
