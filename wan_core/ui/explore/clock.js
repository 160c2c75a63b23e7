// One clock over several videos. The longest one that can play leads; the others are brought back when they stray.
// Knows nothing of grids and pages. Times in seconds; a video past its end holds its last frame.
window.wanExplore ??= {};
(() => {
  const FAR_S = 0.3;  // strays of less are mended by the rate, which nobody sees; others by a seek
  const PATIENCE_MS = 1500;  // for videos that cannot play yet; they join later
  const WATCH_MS = 200;  // a browser calls no frame of a video that has stalled

  class Clock extends EventTarget {
    #members = new Map();  // video → {fps, frames, still, held, wanted, sought, latency}
    #leader = null;
    #playing = false;
    #beginning = false;  // seeking and waiting, before all start together
    #moment = 0;
    #rate = 1;
    #run = 0;  // counts starts and stops: what was begun before is no longer wanted
    #listening = new WeakMap();

    loop = true;

    constructor() {
      super();
      this.timer = setInterval(() => this.#tick(), WATCH_MS);
    }

    get playing() { return this.#playing; }
    get rate() { return this.#rate; }
    get leader() { return this.#leader; }
    get time() { return this.#playing && this.#leader ? this.#leader.currentTime : this.#moment; }
    get fps() { return Math.max(0, ...[...this.#members.values()].map(each => each.fps)) || 16; }

    /** The length of the longest. */
    get duration() { return Math.max(0, ...[...this.#members].map(([video, each]) => length(video, each))); }

    /** `still`: follows when paused only. `fps` and `frames` may be unknown (0). */
    add(video, {fps = 0, frames = 0, still = false} = {}) {
      const known = this.#members.get(video);
      if (known) {
        Object.assign(known, {fps: fps || known.fps, frames: frames || known.frames, still});
        if (still && !video.paused) video.pause();
      } else {
        this.#members.set(video, {fps, frames, still, held: false, wanted: null, sought: 0, latency: 0.06});
        this.#listen(video);
      }
      this.#join(video);
      this.#say('change');
    }

    has(video) { return this.#members.has(video); }

    remove(video) {
      if (!this.#members.delete(video)) return;
      video.pause();
      video.playbackRate = this.#rate;
      this.#listening.get(video)?.abort();
      if (video === this.#leader) {
        this.#moment = Math.min(video.currentTime || this.#moment, this.duration);
        this.#elect();
      }
      this.#say('change');
    }

    async play() {
      if (this.#playing) return;
      this.#playing = true;
      this.#say('state');
      if (this.#moment >= this.duration - 1 / this.fps) this.#moment = 0;
      await this.#begin(this.#moment);
    }

    pause() {
      const moment = this.time;
      this.#stop();
      this.seek(moment);
    }

    toggle() { return this.#playing ? this.pause() : this.play(); }

    /** Show one moment in all, and stay there. */
    seek(seconds) {
      if (this.#playing) this.#stop();
      const frame = Math.max(0, Math.min(Math.floor(seconds * this.fps + 1e-6), this.#lastFrame()));
      this.#moment = (frame + 0.5) / this.fps;  // the middle: a border may show either frame
      for (const video of this.#members.keys()) this.#show(video, this.#moment);
      this.#say('time');
    }

    /** One frame of the fastest clip. */
    step(frames) { this.seek(this.time + frames / this.fps); }

    set rate(rate) {
      this.#rate = rate;
      for (const video of this.#members.keys()) video.playbackRate = rate;
    }

    close() {
      clearInterval(this.timer);
      for (const video of [...this.#members.keys()]) this.remove(video);
    }

    #lastFrame() { return Math.max(0, Math.round(this.duration * this.fps) - 1); }

    #stop() {
      this.#run += 1;
      this.#playing = this.#beginning = false;
      for (const video of this.#members.keys()) {
        video.pause();
        video.playbackRate = this.#rate;
      }
      this.#say('state');
    }

    /** All from one moment, together: seek, wait for the slow ones for a while, start in one go. */
    async #begin(moment) {
      const run = ++this.#run;
      this.#beginning = true;
      this.#moment = moment;
      for (const [video, each] of this.#members) {
        each.held = false;
        video.pause();
        this.#show(video, moment);
      }
      this.#say('hold');
      await this.#settled();
      if (run !== this.#run || !this.#playing) return;
      this.#beginning = false;
      this.#elect();
      for (const [video, each] of this.#members) {
        if (ready(video) && !this.#holds(video, each, moment) && !each.still) start(video, this.#rate);
      }
      this.#follow();
    }

    #settled() {
      const waiting = [...this.#members].filter(([video, each]) => !each.still && video.currentSrc && !video.error);
      const end = performance.now() + PATIENCE_MS;
      return new Promise(done => {
        const look = () => {
          const all = waiting.every(([video]) => ready(video) || video.error || !this.#members.has(video));
          all || performance.now() > end ? done() : setTimeout(look, 15);
        };
        look();
      });
    }

    #elect() {
      const able = [...this.#members].filter(([video, each]) => ready(video) && !each.still);
      const [longest] = able.reduce((best, next) => length(...next) > length(...best) ? next : best, able[0] ?? [null]);
      this.#leader = longest;
    }

    #follow() {
      const leader = this.#leader, run = this.#run;
      if (!leader?.requestVideoFrameCallback) return;
      leader.requestVideoFrameCallback(() => {
        if (run !== this.#run || leader !== this.#leader) return;
        this.#tick();
        this.#follow();
      });
    }

    #tick() {
      if (!this.#playing || this.#beginning || !this.#members.size) return;
      const leader = this.#leader;
      if (!leader || (!leader.ended && !able(leader))) {  // stalled: the next one leads
        this.#elect();
        if (this.#leader && this.#leader !== leader) this.#follow();
        if (!this.#leader) return;
      }
      if (this.#leader.ended) return this.#end();
      if (this.#leader.paused) return void this.#begin(this.#moment);
      const now = this.#leader.currentTime;
      this.#moment = now;
      for (const [video, each] of this.#members) if (video !== this.#leader) this.#correct(video, each, now);
      this.#leader.playbackRate = this.#rate;
      this.#say('time');
    }

    #end() {
      if (this.loop) return void this.#begin(0);
      this.#stop();
      this.seek(this.duration);
    }

    #correct(video, each, now) {
      if (each.still || !able(video) || video.seeking) return;
      if (this.#holds(video, each, now)) return;
      if (video.paused) return void this.#join(video);
      const stray = video.currentTime - now, frame = 1 / this.fps;
      if (Math.abs(stray) > FAR_S) return this.#show(video, now + each.latency * this.#rate);
      const mend = Math.abs(stray) > 0.4 * frame || (video.playbackRate !== this.#rate && Math.abs(stray) > 0.1 * frame);
      const rate = mend ? this.#rate * (1 - Math.max(-0.25, Math.min(0.25, 2 * stray))) : this.#rate;
      if (Math.abs(video.playbackRate - rate) > 0.005) video.playbackRate = rate;
    }

    /** Whether the video is past its end: then its last frame is on show. */
    #holds(video, each, moment) {
      const held = length(video, each) > 0 && moment >= length(video, each) - 0.25 / this.fps;
      if (held && !video.paused) video.pause();
      if (held !== each.held) {
        each.held = held;
        if (held) this.#show(video, moment);
        this.#say('hold');
      }
      return held;
    }

    isHeld(video) { return this.#members.get(video)?.held ?? false; }

    #show(video, moment) {
      const each = this.#members.get(video), whole = length(video, each), frame = 1 / (each.fps || this.fps);
      const at = whole ? Math.max(0, Math.min(moment, whole - frame / 2)) : moment;
      if (!this.#playing) {
        const held = whole > 0 && moment > whole;
        if (held !== each.held) { each.held = held; this.#say('hold'); }
      }
      if (video.seeking || video.readyState < 1) { each.wanted = at; return; }
      if (Math.abs(video.currentTime - at) < frame / 8) return;
      each.wanted = null;
      each.sought = performance.now();
      video.currentTime = at;
    }

    /** A video that became able to play while the others do: from where they are. */
    #join(video) {
      const each = this.#members.get(video);
      if (!each || video.readyState < 1 || video.seeking) return;
      if (!this.#playing || each.still) return this.#show(video, this.time);
      if (this.#beginning || !this.#leader || this.#leader === video) return;
      if (this.#leader.paused || this.#holds(video, each, this.time)) return;
      if (Math.abs(video.currentTime - this.time) > FAR_S / 2) return this.#show(video, this.time + each.latency);
      if (able(video)) start(video, this.#rate);
    }

    #listen(video) {
      const abort = new AbortController(), on = (name, then) => video.addEventListener(name, then, {signal: abort.signal});
      this.#listening.set(video, abort);
      on('seeked', () => {
        const each = this.#members.get(video);
        if (each.sought) each.latency = 0.7 * each.latency + 0.3 * Math.min(1, (performance.now() - each.sought) / 1000);
        if (each.wanted !== null) {
          const at = each.wanted;
          each.wanted = null;
          this.#show(video, at);
        } else if (this.#playing && video.paused && this.#leader && !this.#leader.paused) {
          this.#join(video);
        }
        this.#say('shown');
      });
      on('loadedmetadata', () => { this.#join(video); this.#say('change'); });
      on('canplay', () => this.#join(video));
      on('ended', () => { if (video === this.#leader) this.#tick(); });
    }

    #say(name) { this.dispatchEvent(new Event(name)); }
  }

  const length = (video, each) => each.frames && each.fps ? each.frames / each.fps : video.duration || 0;
  const able = video => video.readyState >= 2 && !video.error;
  const ready = video => able(video) && !video.seeking;

  function start(video, rate) {
    video.playbackRate = rate;
    if (!video.ended) video.play().catch(() => {});  // an ended one would begin again
  }

  wanExplore.Clock = Clock;
})();
