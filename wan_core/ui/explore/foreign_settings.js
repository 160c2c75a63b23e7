// “Settings from a file”: this app's own, and those of Wan2GP, ComfyUI and A1111, in mp4, PNG, WebP, JPEG, JSON, CSV and
// text files. Read here, in the browser; only the settings go to the page. What has no counterpart is listed.
window.wanExplore ??= {};
(() => {
  const APP = 'wan-2.2-image-to-video', VERSION = 1, MOST_BYTES = 8 << 20;
  const AREAS = {'480p': 832 * 480, '580p': 1024 * 576, '720p': 1280 * 720}, RATIOS = {'16:9': 16 / 9, '9:16': 9 / 16, '1:1': 1};
  const SAME_RATIO = 0.04;
  const SHOWN_CHARS = 60;
  const NAMES = {
    prompt: wanWord('prompt'), negative_prompt: wanWord('negative prompt'), seed: wanWord('seed'), num_inference_steps: wanWord('steps'),
    guidance_scale: wanWord('guidance'), guidance_scale_2: wanWord('guidance (2nd stage)'), shift: wanWord('shift'),
    num_frames: wanWord('frames'), frames_per_second: wanWord('frames per second'), resolution: wanWord('resolution'),
    aspect_ratio: wanWord('aspect ratio'), interpolator_model: wanWord('interpolator'), num_interpolated_frames: wanWord('new frames'),
  };
  const json = text => { try { return JSON.parse(text); } catch { return undefined; } };

  /** `{settings, explore, grid, note}`: a recipe of this app as text, the axes of a grid as text, whether the file is an
   *  exported grid, and a sentence. */
  async function settingsIn(file) {
    const texts = await textsOf(file), comment = texts.comment ?? '';
    const own = json(comment);
    if (own?.app === APP) return {settings: comment, explore: axesIn(own), note: ''};
    const axes = axesIn(own) || axesOfTable(comment);
    if (axes) return {settings: own?.shared ? recipe(own.shared) : '', explore: axes, grid: true, note: ''};
    const found = foreign(texts, own);
    if (!found) return {settings: '', explore: '', note: ''};
    const {request, notes} = translated(found.values);
    const taken = Object.keys(request).map(name => NAMES[name]), unused = [...notes, ...found.unused].map(shorten);
    const names = taken.length ? taken.join(', ') : wanWord('nothing that this page has');
    const note = wanWord('From {tool}: {settings}.', {tool: found.tool, settings: names}) +
      (unused.length ? ` ${wanWord('Not taken over: {settings}.', {settings: unused.join('; ')})}` : '');
    return {settings: taken.length ? recipe(request) : '', explore: '', note};
  }

  async function textsOf(file) {
    const isText = /\.(json|csv|txt)$/i.test(file.name) || /^(text\/|application\/json)/.test(file.type);
    if (!isText) return wanExplore.textsIn(file);
    const text = await file.slice(0, MOST_BYTES).text();
    return {comment: text.replace(/^\uFEFF/, ''), parameters: json(text) === undefined ? text : undefined};
  }

  const recipe = request => JSON.stringify({app: APP, version: VERSION, request});

  // ---- a grid of this app: in a clip's recipe or an exported JSON, or in the first line of an exported CSV

  function axesIn(plain) {
    if (plain?.explore?.axes) return JSON.stringify(plain.explore);
    return typeof plain?.group?.sweep === 'string' ? plain.group.sweep : '';
  }

  const axesOfTable = text => /^# explore=(\{.*\})\r?\n/.exec(text)?.[1] ?? '';

  // ---- who wrote the file

  function foreign(texts, comment) {
    const graphs = [json(texts.prompt), comment?.prompt, json(comment?.prompt), comment, json(texts.workflow), comment?.workflow];
    for (const graph of graphs) {
      const found = graph && typeof graph === 'object' && wanExplore.comfyui.settingsOfGraph(graph);
      if (found) return {tool: 'ComfyUI', ...found};
    }
    if (isWan2gp(comment)) return {tool: 'Wan2GP', ...ofWan2gp(comment)};
    const written = texts.parameters ?? '';
    return /(^|\n)Steps: \d+/.test(written) ? {tool: 'A1111', ...ofA1111(written)} : null;
  }

  const isWan2gp = plain => /WanGP|Wan2GP/i.test(plain?.type ?? '') || (plain && typeof plain === 'object' && 'video_length' in plain && 'prompt' in plain);

  const OF_WAN2GP = ['prompt', 'negative_prompt', 'seed', 'num_inference_steps', 'guidance_scale', 'guidance2_scale', 'flow_shift',
    'video_length', 'resolution', 'force_fps', 'temporal_upsampling', 'guidance_phases', 'type', 'image_mode', 'settings_version'];

  function ofWan2gp(plain) {
    const [width, height] = String(plain.resolution ?? '').split('x').map(Number);
    const multiplier = {rife2: 2, rife4: 4}[plain.temporal_upsampling], phases = Number(plain.guidance_phases ?? 1);
    const values = {
      prompt: plain.prompt, negative_prompt: plain.negative_prompt, seed: plain.seed, num_inference_steps: plain.num_inference_steps,
      guidance_scale: plain.guidance_scale, guidance_scale_2: phases > 1 ? plain.guidance2_scale : plain.guidance_scale,
      shift: plain.flow_shift, num_frames: plain.video_length, width, height, base_fps: Number(plain.force_fps) || undefined,
      ...(multiplier ? {interpolator: 'rife', multiplier} : {}),
    };
    const said = value => value !== null && value !== '' && value !== false && value !== 0 && !(Array.isArray(value) && !value.length);
    const unused = Object.entries(plain).filter(([name, value]) => !OF_WAN2GP.includes(name) && said(value) && typeof value !== 'object')
      .map(([name, value]) => `${name} ${value}`);
    const loras = (Array.isArray(plain.activated_loras) ? plain.activated_loras : []).map(lora => `LoRA ${lora}`);
    return {values, unused: [...loras, ...unused]};
  }

  function ofA1111(written) {
    const lines = written.split(/\r?\n/), at = lines.findLastIndex(line => /^Steps: \d+/.test(line));
    const facts = Object.fromEntries([...lines[at].matchAll(/\s*([\w ()-]+):\s*("(?:\\.|[^"])*"|[^,]*)(?:,|$)/g)].map(each => [each[1].trim(), each[2].trim()]));
    const head = lines.slice(0, at), negative = head.findIndex(line => line.startsWith('Negative prompt:'));
    const prompt = head.slice(0, negative < 0 ? undefined : negative).join('\n').trim();
    const [width, height] = (facts.Size ?? '').split('x').map(Number);
    const guidance = number(facts['CFG scale']);
    const values = {
      prompt: prompt || undefined, seed: facts.Seed, num_inference_steps: facts.Steps, width, height,
      negative_prompt: negative < 0 ? undefined : head.slice(negative).join('\n').slice('Negative prompt:'.length).trim(),
      guidance_scale: guidance, guidance_scale_2: guidance, shift: facts.Shift ?? facts['Distilled CFG Scale'],
    };
    const used = ['Steps', 'Seed', 'Size', 'CFG scale', 'Shift'];
    return {values, unused: Object.entries(facts).filter(([name]) => !used.includes(name)).map(([name, value]) => `${name} ${value}`)};
  }

  // ---- into this app's fields; the server judges the values

  const number = value => value === undefined || value === null || value === '' || Number.isNaN(Number(value)) ? undefined : Number(value);

  function translated(values) {
    const notes = [], request = {}, put = (name, value) => { if (value !== undefined) request[name] = value; };
    for (const name of ['prompt', 'negative_prompt']) if (typeof values[name] === 'string') put(name, values[name]);
    for (const name of ['num_inference_steps', 'guidance_scale', 'guidance_scale_2', 'shift', 'num_frames']) put(name, number(values[name]));
    const seed = number(values.seed);
    if (seed >= 0 && Number.isSafeInteger(seed)) put('seed', seed);
    else if (seed >= 0) notes.push(wanWord('seed {seed} (above 2^53)', {seed: values.seed}));
    putSize(number(values.width), number(values.height), put, notes);
    putRate(values, put, notes);
    return {request, notes};
  }

  function putSize(width, height, put, notes) {
    if (!(width > 0 && height > 0)) return;
    const area = width * height, far = word => Math.abs(Math.log(AREAS[word] / area));
    put('resolution', Object.keys(AREAS).reduce((best, word) => far(word) < far(best) ? word : best));
    const ratio = Object.keys(RATIOS).find(word => Math.abs(Math.log(RATIOS[word] * height / width)) < SAME_RATIO);
    put('aspect_ratio', ratio ?? 'auto');
    notes.push(wanWord('the exact size {size}', {size: `${width} × ${height}`}));
  }

  /** A file's rate counts the interpolated frames; ours is that of the generated ones. */
  function putRate({fps, base_fps: base, interpolator, multiplier}, put, notes) {
    const times = number(multiplier) ?? 1, rate = number(base) ?? number(fps) / times;
    if (rate && Number.isInteger(rate)) put('frames_per_second', rate);
    else if (rate) notes.push(wanWord('{rate} frames a second', {rate}));
    if (!interpolator) return;
    put('interpolator_model', interpolator);
    put('num_interpolated_frames', times - 1);
  }

  const shorten = text => text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS - 1)}…`;

  wanExplore.settingsIn = settingsIn;
})();
