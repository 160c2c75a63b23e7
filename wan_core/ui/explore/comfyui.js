// The settings in a ComfyUI graph: the prompt as it was run, or a saved workflow. Wan's native nodes and the
// WanVideo wrapper. Knows the nodes' inputs; follows links; says what it did not use.
window.wanExplore ??= {};
(() => {
  const SAMPLERS = ['KSampler', 'KSamplerAdvanced', 'WanVideoSampler', 'WanMoeKSampler', 'WanMoeKSamplerAdvanced'];
  const SIZES = ['WanImageToVideo', 'WanFirstLastFrameToVideo', 'Wan22ImageToVideoLatent', 'WanVideoImageToVideoEncode',
    'WanVideoEmptyEmbeds', 'EmptyHunyuanLatentVideo'];
  const RATES = {VHS_VideoCombine: 'frame_rate', CreateVideo: 'fps', SaveAnimatedWEBP: 'fps', SaveWEBM: 'fps'};
  const INTERPOLATORS = {'RIFE VFI': 'rife', 'FILM VFI': 'film'};
  const PROMPTS = ['text', 'positive_prompt', 'prompt', 'value', 'string'];
  const SCALARS = ['value', 'seed', 'noise_seed', 'int', 'float', 'number', 'text', 'string'];
  const NAMED = {
    sampler_name: 'sampler', scheduler: 'scheduler', lora_name: 'LoRA', lora: 'LoRA', unet_name: 'model', model: 'model',
    ckpt_name: 'model', image: 'picture', denoise: 'denoise', denoise_strength: 'denoise',
  };
  // The order of the widgets' values in workflows whose nodes do not name them. `*`: a word after a seed.
  const WIDGETS = {
    KSampler: ['seed', '*', 'steps', 'cfg', 'sampler_name', 'scheduler', 'denoise'],
    KSamplerAdvanced: ['add_noise', 'noise_seed', '*', 'steps', 'cfg', 'sampler_name', 'scheduler', 'start_at_step', 'end_at_step'],
    WanVideoSampler: ['steps', 'cfg', 'shift', 'seed', '*', 'force_offload', 'scheduler'],
    WanVideoTextEncode: ['positive_prompt', 'negative_prompt'], CLIPTextEncode: ['text'], ModelSamplingSD3: ['shift'],
    WanImageToVideo: ['width', 'height', 'length'], WanFirstLastFrameToVideo: ['width', 'height', 'length'],
    Wan22ImageToVideoLatent: ['width', 'height', 'length'], EmptyHunyuanLatentVideo: ['width', 'height', 'length'],
    WanVideoImageToVideoEncode: ['width', 'height', 'num_frames'], WanVideoEmptyEmbeds: ['width', 'height', 'num_frames'],
    CreateVideo: ['fps'], SaveAnimatedWEBP: ['filename_prefix', 'fps'], SaveWEBM: ['filename_prefix', 'codec', 'fps'],
    'RIFE VFI': ['ckpt_name', 'clear_cache_after_n_frames', 'multiplier'],
    'FILM VFI': ['ckpt_name', 'clear_cache_after_n_frames', 'multiplier'],
    UNETLoader: ['unet_name'], LoraLoaderModelOnly: ['lora_name'], WanVideoModelLoader: ['model'], WanVideoLoraSelect: ['lora'],
    LoadImage: ['image'], PrimitiveInt: ['value'], PrimitiveFloat: ['value'], INTConstant: ['value'],
  };
  const AFTER_SEED = ['fixed', 'increment', 'decrement', 'randomize'];
  const SILENT = [2, 4];  // modes: muted, bypassed

  const isNode = node => typeof node?.class_type === 'string' && node.inputs && typeof node.inputs === 'object';
  const isGraph = plain => Object.values(plain ?? {}).some(isNode);
  const isWorkflow = plain => Array.isArray(plain?.nodes) && plain.nodes.some(node => typeof node?.type === 'string');
  const listOf = value => Array.isArray(value) ? value : [];

  /** A workflow in the form of a prompt: `{id: {class_type, inputs}}`. */
  function graphOf(workflow) {
    const links = new Map(listOf(workflow.links).map(link => Array.isArray(link)
      ? [link[0], [String(link[1]), link[2]]] : [link?.id, [String(link?.origin_id), link?.origin_slot]]));
    const graph = {};
    for (const node of workflow.nodes) {
      if (typeof node?.type !== 'string' || SILENT.includes(node.mode)) continue;
      const inputs = widgets(node);
      for (const input of listOf(node.inputs)) if (input && links.has(input.link)) inputs[input.name] = links.get(input.link);
      graph[node.id] = {class_type: node.type, inputs};
    }
    return graph;
  }

  function widgets(node) {
    const values = node.widgets_values ?? [];
    if (!Array.isArray(values)) return {...values};
    const named = listOf(node.inputs).filter(input => input?.widget).map(input => input.name);
    const order = named.length ? named : (WIDGETS[node.type] ?? []), inputs = {};
    let at = 0;
    for (const name of order) {
      if (name === '*') { if (AFTER_SEED.includes(values[at])) at += 1; continue; }
      if (at >= values.length) break;
      inputs[name] = values[at++];
      if (['seed', 'noise_seed'].includes(name) && AFTER_SEED.includes(values[at])) at += 1;
    }
    return inputs;
  }

  /** `{values, unused}` of a prompt or a workflow; null for anything else. `values` have this app's names. */
  function settingsOfGraph(plain) {
    const graph = isGraph(plain) ? plain : isWorkflow(plain) ? graphOf(plain) : null;
    if (!graph) return null;
    const nodes = Object.values(graph).filter(isNode);
    const samplers = nodes.filter(node => SAMPLERS.includes(node.class_type))
      .sort((one, other) => start(one) - start(other));  // high noise first
    const values = {};
    readSamplers(graph, samplers, values);
    readPrompts(graph, samplers, nodes, values);
    for (const node of nodes) {
      const of = name => scalar(graph, node.inputs[name], name);
      if (SIZES.includes(node.class_type)) {
        Object.assign(values, {width: of('width'), height: of('height'), num_frames: of('length') ?? of('num_frames')});
      }
      if (node.class_type === 'ModelSamplingSD3') values.shift ??= of('shift');
      if (RATES[node.class_type]) values.fps ??= of(RATES[node.class_type]);
      if (INTERPOLATORS[node.class_type]) Object.assign(values, {interpolator: INTERPOLATORS[node.class_type], multiplier: of('multiplier')});
    }
    return {values, unused: unusedIn(nodes)};
  }

  const start = node => Number(node.inputs.start_at_step ?? node.inputs.start_step ?? 0) || 0;

  function readSamplers(graph, samplers, values) {
    const of = (node, ...names) => names.map(name => scalar(graph, node.inputs[name], name)).find(value => value !== undefined);
    for (const node of samplers) {
      const guidance = of(node, 'cfg', 'cfg_high_noise');
      values.guidance_scale ??= guidance;
      values.guidance_scale_2 = of(node, 'cfg_low_noise', 'cfg') ?? values.guidance_scale_2;
      values.num_inference_steps = Math.max(values.num_inference_steps ?? 0, of(node, 'steps') ?? 0) || undefined;
      values.shift ??= of(node, 'shift', 'sigma_shift');
      if (node.inputs.add_noise !== 'disable') values.seed ??= of(node, 'seed', 'noise_seed');
    }
  }

  function readPrompts(graph, samplers, nodes, values) {
    for (const node of samplers) {
      values.prompt ??= words(graph, node.inputs.positive, 'positive');
      values.negative_prompt ??= words(graph, node.inputs.negative, 'negative');
    }
    const wrapper = nodes.find(node => node.class_type.startsWith('WanVideoTextEncode'));
    if (!wrapper) return;
    values.prompt ??= scalar(graph, wrapper.inputs.positive_prompt ?? wrapper.inputs.prompt, 'text');
    values.negative_prompt ??= scalar(graph, wrapper.inputs.negative_prompt, 'text');
  }

  /** The text at the end of a chain of conditionings. */
  function words(graph, link, side, depth = 12) {
    const node = Array.isArray(link) ? graph[link[0]] : null;
    if (!node?.inputs || !depth) return undefined;
    const name = PROMPTS.find(each => node.inputs[each] !== undefined);
    if (name) return text(scalar(graph, node.inputs[name], name));
    for (const next of [side, 'conditioning', 'conditioning_1']) {
      const found = words(graph, node.inputs[next], side, depth - 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  const text = value => typeof value === 'string' ? value : undefined;

  /** A number or a text; a link is followed to the node that holds one. */
  function scalar(graph, value, name, depth = 8) {
    if (!Array.isArray(value)) return ['number', 'string'].includes(typeof value) ? value : undefined;
    const inputs = graph[value[0]]?.inputs;
    if (!inputs || !depth) return undefined;
    const next = [name, ...SCALARS].find(each => inputs[each] !== undefined);
    return next && scalar(graph, inputs[next], name, depth - 1);
  }

  function unusedIn(nodes) {
    const said = nodes.flatMap(node => Object.entries(NAMED)
      .filter(([name]) => ['number', 'string'].includes(typeof node.inputs[name]) && node.inputs[name] !== '' && !(name.startsWith('denoise') && node.inputs[name] === 1))
      .filter(([name]) => !(name === 'ckpt_name' && INTERPOLATORS[node.class_type]))
      .map(([name, word]) => `${word} ${node.inputs[name]}`));
    const last = nodes.filter(node => node.class_type === 'WanFirstLastFrameToVideo' && node.inputs.end_image).map(() => 'last picture');
    return [...new Set([...said, ...last])];
  }

  wanExplore.comfyui = {isGraph, isWorkflow, settingsOfGraph};
})();
