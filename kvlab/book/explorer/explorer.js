// The explorer: a widget of anywidget's, and the same in a page that carries its data (kvlab/book/explorer/recorded.py).
// Everything that is chosen follows from one place: a setting in its world. Only a widget can ask the kernel for more.

const CHOICES = `
  <div class="choices">
    <label>Suite <select name="world"></select></label>
    <label>What is kept <select name="kept"></select></label>
    <label>Gate, or another lever <select name="family"></select></label>
    <label class="slider">Threshold, or another number <output name="when"></output><input type="range" name="at" min="0" step="1"></label>
  </div>
  <div class="numbers" aria-live="polite"></div>
  <div class="choices"><label>Compare by <select name="across"></select></label></div>
  <div class="scatter"><div></div><p class="caption"></p></div>`;
const STILL = `
  <p class="hint">This page shows what is recorded. To play an episode or to run a setting of your own, start JupyterLab
  with <code>make lab</code>, open this chapter and run its cells.</p>`;
const LIVE = `
  <section class="play">
    <div class="choices">
      <label>Episode of this setting <select name="episode"></select></label>
      <button name="play">Play it again</button> <button class="stop" hidden>Stop</button>
    </div>
    <progress hidden></progress> <p class="said" aria-live="polite"></p>
    <div class="film" hidden>
      <img alt="What the camera sees at this control step">
      <div>
        <p class="now" aria-live="off"></p>
        <div class="signals"></div>
        <div class="choices"><button name="go">Play</button>
          <label class="slider">Control step <input type="range" name="step" min="0" step="1"></label></div>
      </div>
    </div>
  </section>
  <section class="run">
    <div class="choices">
      <label class="slider">A setting of your own <input name="setting" spellcheck="false"></label>
      <label>Episodes <input type="number" name="episodes" min="1" max="100" value="3"></label>
      <button name="run">Run it</button> <button class="stop" hidden>Stop</button>
    </div>
    <progress hidden></progress> <p class="said" aria-live="polite"></p>
  </section>`;
const FRAME_MS = 50; // the simulation's own speed: 20 control steps a second

const safe = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const coded = (text) => safe(text).replace(/`([^`]*)`/g, "<code>$1</code>");
const percent = (share) => `${Math.round(100 * share)} %`;
const unique = (values) => [...new Set(values)];
const known = (value, unit = "") => (value === undefined ? "not known" : value + unit);

function render({ model, el }) {
  const live = Boolean(model.send);
  el.classList.add("kvlab-explorer");
  el.innerHTML = CHOICES + (live ? LIVE : STILL);
  const named = (name) => el.querySelector(`[name=${name}]`);
  let data = model.get("data");
  let world = data.chosen.world;
  let place = data.worlds[world].find((one) => one.setting === data.chosen.setting);
  const machines = Object.entries(data.machines);
  const axes = Object.fromEntries([
    ...machines.map(([key, name]) => [key, ["ms of inference per control step", `, ${name}`]]),
    ["reuse", ["share of replans that reuse, %", ""]],
  ]);
  const kept = () => data.worlds[world].filter((one) => one.kept === place.kept);
  const family = () => kept().filter((one) => one.family === place.family);

  function fill(name, values, chosen) {
    const options = values.map((value) => `<option${value === chosen ? " selected" : ""}>${safe(value)}</option>`);
    named(name).innerHTML = options.join("");
  }

  function choose(one) {
    place = one ?? place;
    fill("world", Object.keys(data.worlds), world);
    fill("kept", unique(data.worlds[world].map((one) => one.kept)), place.kept);
    fill("family", unique(kept().map((one) => one.family)), place.family);
    Object.assign(named("at"), { max: family().length - 1, disabled: family().length === 1 });
    named("at").value = family().indexOf(place);
    named("at").setAttribute("aria-valuetext", place.when);
    named("when").textContent = place.when;
    el.querySelector(".numbers").innerHTML = [
      ["Success", `${place.k} of ${place.n}`, `${Math.round(100 * place.low)} to ${percent(place.high)} (exact, 95 %)`],
      ["Replans that reuse", percent(place.reuse), "share of all replans"],
      ...machines.map(([key, name]) => ["Inference per control step", known(place[key]?.toPrecision(3), " ms"), name]),
      ["Control steps to success", known(place.steps?.toFixed(0)), "mean of the episodes that it solves"],
    ].map(([what, value, note]) => `<div><small>${what}</small><b>${value}</b><small>${note}</small></div>`).join("");
    scatter();
    if (live) offer();
  }

  // The picture: a point a setting; those of the same gate are joined, and the chosen one has its interval.
  function scatter() {
    const across = named("across").value;
    const scale = across === "reuse" ? 100 : 1;
    const box = el.querySelector(".scatter > div");
    const [width, height, left, bottom] = [Math.max(box.clientWidth, 260), 300, 34, 40];
    const there = data.worlds[world].filter((one) => one[across] !== null).sort((a, b) => a[across] - b[across]);
    const most = Math.max(...there.map((one) => one[across])) * 1.06 || 1;
    const x = (one) => left + 8 + ((width - left - 16) * one[across]) / most;
    const least = Math.min(0.8, ...there.map((one) => Math.floor((5 * one.k) / one.n) / 5), Math.floor(5 * place.low) / 5);
    const y = (share) => 8 + ((height - bottom - 16) * (1 - share)) / (1 - least);
    const ticks = (n) => [...Array(n + 1).keys()];
    const step = [0.2, 0.5, 1, 2, 5, 10, 20, 50].find((one) => (scale * most) / one <= 6);
    const rows = ticks(Math.round(5 - 5 * least)).map((n) => `<line x1="${left}" x2="${width}" y1="${y(1 - n / 5)}"
      y2="${y(1 - n / 5)}"/><text x="${left - 6}" y="${y(1 - n / 5) + 4}" text-anchor="end">${100 - 20 * n}</text>`);
    const columns = ticks(Math.floor((scale * most) / step)).map((n) => `<text text-anchor="middle"
      x="${x({ [across]: (n * step) / scale })}" y="${height - bottom + 14}">${+(n * step).toFixed(2)}</text>`);
    const joined = family().filter((one) => one[across] !== null && !one.few);
    const chosen = place[across] === null ? "" : `<line class="interval" x1="${x(place)}" x2="${x(place)}"
      y1="${y(place.low)}" y2="${y(place.high)}"/>`;
    const points = there.map((one) => `<circle cx="${x(one)}" cy="${y(one.k / one.n)}" r="${one === place ? 7 : 5}"
      role="button" tabindex="${one === place ? 0 : -1}" aria-label="${safe(said(one))}" data-setting="${safe(one.setting)}"
      class="${one.few ? "few " : ""}${one === place ? "chosen" : joined.includes(one) ? "joined" : ""}"/>`);
    box.innerHTML = `<svg width="${width}" height="${height}" role="group"
      aria-label="Success in percent against ${axes[across].join("")}: arrow keys go from setting to setting">
      ${rows.join("")}${columns.join("")}
      <text x="${left}" y="${height - 6}">${axes[across][0]}</text>
      <text x="${left + 4}" y="${height - bottom - 14}">success, %</text>
      <polyline points="${joined.map((one) => `${x(one)},${y(one.k / one.n)}`).join(" ")}"/>${chosen}${points.join("")}</svg>`;
    caption(place);
  }

  const said = (one) => `${one.setting}: ${one.k} of ${one.n} succeed, ${percent(one.reuse)} of replans reuse`;
  function caption(one) {
    const untimed = one[named("across").value] === null ? "; no time of it is recorded, so it has no point" : "";
    el.querySelector(".caption").textContent = said(one) + (one.few ? " (few episodes: hollow)" : "") + untimed;
  }

  const at = (event) => {
    const setting = event.target.dataset?.setting;
    return setting && data.worlds[world].find((one) => one.setting === setting);
  };
  const focus = () => el.querySelector("circle.chosen")?.focus();
  const picture = el.querySelector(".scatter");
  picture.addEventListener("mouseover", (event) => caption(at(event) || place));
  picture.addEventListener("focusin", (event) => caption(at(event) || place));
  picture.addEventListener("click", (event) => at(event) && (choose(at(event)), focus()));
  picture.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab would go to another cell
    const points = [...picture.querySelectorAll("circle")];
    const next = points[points.findIndex((one) => one.classList.contains("chosen")) + way];
    if (next) (choose(at({ target: next })), focus());
  });
  named("world").addEventListener("change", (event) => {
    world = event.target.value;
    const there = data.worlds[world];
    choose(there.find((one) => one.setting === place.setting) ?? there.find((one) => one.kept === place.kept) ?? there[0]);
  });
  named("kept").addEventListener("change", (event) => {
    const there = data.worlds[world].filter((one) => one.kept === event.target.value);
    choose(there.find((one) => one.family === place.family) ?? there[0]);
  });
  named("family").addEventListener("change", (event) => choose(kept().find((one) => one.family === event.target.value)));
  named("at").addEventListener("input", (event) => choose(family()[event.target.value]));
  named("across").innerHTML = Object.keys(axes).map((key) => `<option value="${key}">${axes[key].join("")}</option>`).join("");
  named("across").addEventListener("change", scatter);
  const offer = live ? ask(model, el, named, () => ({ world, place })) : null;
  model.on?.("change:data", () => {
    data = model.get("data");
    world = data.chosen.world;
    choose(data.worlds[world].find((one) => one.setting === data.chosen.setting));
  });
  choose();
  new ResizeObserver(scatter).observe(picture);
}

// What needs the kernel: an episode played again, a setting run. Returns what brings its offers up to date.
function ask(model, el, named, chosen) {
  const part = (about, name) => el.querySelector(`.${about} ${name}`);
  function busy(about) {
    for (const name of ["play", "run"]) {
      named(name).disabled = Boolean(about);
      part(name, ".stop").hidden = part(name, "progress").hidden = about !== name;
    }
  }
  function send(about, content) {
    busy(about);
    part(about, "progress").removeAttribute("value");
    part(about, ".said").textContent = "Starting: the simulator is loaded …";
    model.send({ do: about, world: chosen().world, ...content });
  }
  named("play").addEventListener("click", () => {
    const [task, state] = named("episode").value.split(" ").map(Number);
    send("play", { setting: chosen().place.setting, task, state });
  });
  named("run").addEventListener("click", () =>
    send("run", { setting: named("setting").value, episodes: Number(named("episodes").value) }));
  for (const stop of el.querySelectorAll(".stop")) stop.addEventListener("click", () => model.send({ do: "stop" }));
  const show = player(el, named);
  model.on("msg:custom", (told, buffers) => {
    if (told.kind === "idle") busy(null);
    if (told.kind === "said") part(told.about, ".said").innerHTML = coded(told.text);
    if (told.kind === "film") show(told, buffers);
    if (told.kind === "progress" && told.done) {
      Object.assign(part(told.about, "progress"), { max: told.of, value: told.done });
      part(told.about, ".said").textContent = `${told.done} of ${told.of} ${told.unit}`;
    }
  });
  return () => {
    const { place } = chosen();
    named("episode").innerHTML = place.episodes.map(([task, state, success, steps]) => `<option value="${task} ${state}">
      task ${task}, initial state ${state}: ${success ? "solved" : "not solved"}, ${steps} control steps</option>`).join("");
    if (document.activeElement !== named("setting")) named("setting").value = place.setting;
  };
}

// Pictures, decisions, cache age and signals of an episode, in step.
function player(el, named) {
  let told, urls = [], timer;
  const film = el.querySelector(".film");
  function to(step) {
    const replan = told.replans.findLastIndex(([begins]) => begins <= step);
    const [, reused, age] = told.replans[replan];
    film.querySelector("img").src = urls[step];
    named("step").value = step;
    const values = told.signals.map(({ name, values, bound }) => values[replan] === null ? "" :
      `<br>${name} ${values[replan].toFixed(3)}${bound === null ? "" : ` (gate: ${bound})`}`);
    film.querySelector(".now").innerHTML = `control step ${step}, replan ${replan}:
      <b class="${reused ? "reused" : "computed"}">${reused ? "reused" : "computed"}</b>,
      ${reused ? `cache ${age} replan${age > 1 ? "s" : ""} old` : "cache new"}${values.join("")}`;
    film.querySelector(".cursor").setAttribute("x", (replan / told.replans.length) * 100 + "%");
  }
  function signals() {
    const many = told.replans.length;
    const compared = told.signals.filter(({ bound }) => bound !== null); // the gate's; others may be far lower
    const scaled = (compared.length ? compared : told.signals.slice(0, 1)).flatMap(({ values, bound }) => [...values, bound]);
    const lowest = Math.min(0.98, ...scaled.filter((value) => value !== null));
    const y = (value) => 4 + (70 * (1 - Math.max(value, lowest))) / (1 - lowest);
    const x = (n) => (100 * (n + 0.5)) / many;
    const cells = told.replans.map(([, reused], n) => `<rect class="${reused ? "reused" : "computed"}"
      x="${(100 * n) / many}%" y="84" width="${90 / many}%" height="16"/>`);
    const lines = told.signals.map(({ values, bound }, k) => values.map((value, n) => value === null ? "" :
      `<circle class="signal${k}" cx="${x(n)}%" cy="${y(value)}" r="2.5"/>`).join("") + (bound === null ? "" :
      `<line class="signal${k}" x1="0" x2="100%" y1="${y(bound)}" y2="${y(bound)}"/>`));
    film.querySelector(".signals").innerHTML = `<svg width="100%" height="102" role="img"
      aria-label="Similarities at each replan, and below them whether it reused"><rect class="cursor" y="0"
      width="${90 / many}%" height="102"/>${lines.join("")}${cells.join("")}</svg><p class="key">${told.signals.map(
      ({ name }, k) => `<span class="signal${k}">● ${name}</span>`).join(" ")} from 1 down to ${lowest.toFixed(2)} or less; below them
      <b class="computed">computed</b> <b class="reused">reused</b></p>`;
  }
  function pause() {
    clearInterval(timer);
    timer = null;
    named("go").textContent = "Play";
  }
  named("step").addEventListener("input", (event) => (pause(), to(Number(event.target.value))));
  named("go").addEventListener("click", () => {
    if (timer) return pause();
    let step = Number(named("step").value) % (urls.length - 1);
    named("go").textContent = "Pause";
    timer = setInterval(() => (to(step), ++step < urls.length || pause()), FRAME_MS);
  });
  return (film_told, buffers) => {
    pause();
    for (const url of urls) URL.revokeObjectURL(url);
    told = film_told;
    urls = buffers.map((buffer) => URL.createObjectURL(new Blob([buffer], { type: "image/jpeg" })));
    film.hidden = false;
    named("step").max = urls.length - 1;
    signals();
    to(0);
  };
}

export default { render };
