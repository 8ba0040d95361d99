// Section "Policy": versions of the note-writer, reward by round, mean reward of each arm.
// Not here: drawing the chart (the server does).

import { get } from "./api.js";
import { make, note, picture, section, signed, table, time, wide } from "./dom.js";

export async function policy() {
  const [found, drawn] = await Promise.all([get("/v1/memory/policy"), get("/v1/memory/pictures/policy")]);
  return [
    make("h1", { tabindex: "-1" }, "Edit policy"),
    note(found.summary),
    section("Reward by round",
      note("Reward on the validation episodes: the new note-writer (filled) and the old one (hollow)."),
      drawn.svg ? wide("Reward of the note-writer by version", picture(drawn.svg)) : "",
      found.versions.length ? table("Versions of the note-writer, newest first",
        ["Version", "Round", "Old reward", "New reward", "Verdict", "Because", "When"],
        found.versions.map(version)) : note("No round of refining has ended yet.")),
    section("Arms", note("Ways of writing notes among which the bandit chooses, best first."),
      found.arms.length ? table("Mean reward by arm", ["Arm", "Tried", "Mean reward"],
        found.arms.map((a) => [a.arm, String(a.tried), signed(a.mean_reward)])) : note("None was tried yet.")),
  ];
}

const version = (v) => [String(v.version), v.round === null ? "–" : String(v.round), signed(v.reward_old),
  signed(v.reward_new), v.verdict, v.reasons.join(" ") || "–", time(v.created)];
