function shard = read_shard(file)
%READ_SHARD  Drops, problems and labels of one shard of an isac-torch data set.
%
%   shard = READ_SHARD('shard-00000.h5') returns a struct with fields drop, problem, label and info. Arrays keep the axes
%   that their 'axes' attribute names, in that order: shard.label.power is drop x link. Indices count from 0 in the file
%   and from 1 here (link_ap, serving_ap, sensing_ap, listening_ap, pilot). Complex arrays, stored as NAME.real and
%   NAME.imag, come back as one complex array. info.units.GROUP.NAME holds the unit, info.config the recipe as JSON.
%
%   Needs MATLAB R2011a or later (h5read). HDF5 checks each array's checksum as it is read and fails where it is damaged.
%
%   Example: smallest SINR (linear) of the stored powers of drop d.
%       p = shard.problem;  d = 1;  power = shard.label.power(d, :).';
%       [ues, serving] = size(squeeze(p.signal(d, :, :)));
%       amplitude = reshape(sqrt(power(1:ues*serving)), serving, ues).';
%       wanted = sum(squeeze(p.signal(d, :, :)) .* amplitude, 2).^2;
%       coherent = zeros(ues, 1);
%       for k = 1:ues
%           coherent(k) = sum(sum(squeeze(p.coherent(d, k, :, :)) .* amplitude, 2).^2);
%       end
%       sinr = wanted ./ (squeeze(p.leakage(d, :, :)) * power + coherent + 1);

version = h5readatt(file, '/', 'format_version');
if ~strcmp(text_of(h5readatt(file, '/', 'format')), 'isac-torch shard') || version ~= 1
    error('read_shard:format', '%s is not a shard of format 1', file);
end
shard.info.config = text_of(h5readatt(file, '/', 'config'));
shard.info.drop_seed = h5readatt(file, '/', 'drop_seed');
for group = {'drop', 'problem', 'label'}
    name = group{1};
    [shard.(name), shard.info.units.(name)] = read_group(file, name);
end
problem = h5info(file, '/problem');
if any(strcmp({problem.Attributes.Name}, 'num_targets'))  % the pilot system's UEs are its targets
    shard.problem.num_targets = double(h5readatt(file, '/problem', 'num_targets'));
end
end

function [arrays, units] = read_group(file, group)
contents = h5info(file, ['/' group]);
arrays = struct();
units = struct();
for entry = contents.Datasets'
    path = ['/' group '/' entry.Name];
    value = h5read(file, path);
    axes = numel(strsplit(strtrim(text_of(h5readatt(file, path, 'axes')))));
    if axes > 1
        value = permute(value, axes:-1:1);  % HDF5 is row-major, MATLAB column-major
    end
    unit = text_of(h5readatt(file, path, 'unit'));
    if strncmp(unit, 'index', 5)
        value = double(value) + 1;
    end
    parts = strsplit(entry.Name, '.');
    units.(parts{1}) = unit;
    if numel(parts) == 1
        arrays.(parts{1}) = value;
    elseif strcmp(parts{2}, 'real')
        arrays.(parts{1}) = complex(value, permute_like(file, ['/' group '/' parts{1} '.imag'], axes));
    end
end
end

function value = permute_like(file, path, axes)
value = h5read(file, path);
if axes > 1
    value = permute(value, axes:-1:1);
end
end

function text = text_of(value)
if iscell(value)
    value = value{1};
end
text = char(value);
end
