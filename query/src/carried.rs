//! How do functions and rules learn what DataFusion does not tell them? The configuration of their session carries it: values that nobody sets by name
//! and no list of settings shows.

/// Makes a type one that a configuration carries, under a name of its own.
macro_rules! carried {
    ($carried:ty, $name:literal) => {
        impl datafusion::common::config::ConfigExtension for $carried {
            const PREFIX: &'static str = $name;
        }

        impl datafusion::common::config::ExtensionOptions for $carried {
            fn as_any(&self) -> &dyn std::any::Any {
                self
            }

            fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
                self
            }

            fn cloned(&self) -> Box<dyn datafusion::common::config::ExtensionOptions> {
                Box::new(Self::clone(self))
            }

            fn set(&mut self, key: &str, _value: &str) -> datafusion::error::Result<()> {
                Err(datafusion::error::DataFusionError::Configuration(format!("{key} cannot be set")))
            }

            fn entries(&self) -> Vec<datafusion::common::config::ConfigEntry> {
                Vec::new()
            }
        }
    };
}

pub(crate) use carried;
